use std::path::Path;

use super::Layers;
use crate::config::Config;

fn read(file: &str, environment: &[(&str, &str)]) -> Layers {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("codex-proxy.toml");
    std::fs::write(&path, file).unwrap();
    let owned: Vec<_> =
        environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Layers::read(Some(&path), &owned, &Vec::new())
}

/// The problems, with the folder of the file left out.
fn problems(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let strip = |problem: &super::Problem| {
        let text = problem.to_string();
        text.find("codex-proxy.toml:").map_or(text.clone(), |at| text.split_at(at).1.to_owned())
    };
    read(file, environment).problems.iter().map(strip).collect()
}

#[test]
fn later_layers_win() {
    let layers = read(
        "listen = [\"127.0.0.1:1\"]\n[upstream]\nurl = \"http://a/v1\"",
        &[("CODEX_PROXY_LISTEN", "127.0.0.1:2, [::1]:3"), ("CODEX_PROXY_MAX_BODY", "1MiB")],
    );
    assert!(layers.problems.is_empty(), "{:?}", layers.problems);
    let config = Config::build(&layers);
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:2", "[::1]:3"]);
    assert_eq!(config.max_body, 1 << 20);
    assert_eq!(config.upstream.main.url.to_string(), "http://a/v1");
}

#[test]
fn every_problem_is_listed_with_its_place() {
    let file = "endpoints = [\"GET,POST /v1/files\"]\nlistne = [\"127.0.0.1:1\"]\nmax_body = \"big\"\n[upstream]\nkey = \"sk-literal\"\nurl = 3.5\n[archive]\nsync = \"never\"\n";
    assert_eq!(
        problems(file, &[("CODEX_PROXY_LIMITS_EXCHANGES", "0")]),
        [
            "codex-proxy.toml:1:1: endpoints `GET,POST /v1/files` is no endpoint: write POST /v1/responses, /v1/models* or *",
            "codex-proxy.toml:2:1: no setting is called listne; did you mean listen?",
            "codex-proxy.toml:3:1: max_body `big` is no size: write a number with a unit, as 64MiB",
            "codex-proxy.toml:5:1: upstream.key is a reference to a secret, never the secret: write env:NAME, file:PATH, secretsmanager:NAME or stdin",
            "codex-proxy.toml:6:1: upstream.url takes a text",
            "codex-proxy.toml:8:1: archive.sync `never` is not one of os, group, always",
            "CODEX_PROXY_LIMITS_EXCHANGES: limits.exchanges `0` is no count: write a whole number from 1 on",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    let problems = problems("listen = [\n\"a\"\nb", &[]);
    assert!(problems[0].starts_with("codex-proxy.toml:3:"), "{problems:?}");
}

#[test]
fn an_unknown_variable_is_only_a_warning() {
    let layers = read("", &[("CODEX_PROXY_LISTNE", "x"), ("CODEX_PROXY_CONFIG", "unused")]);
    assert_eq!(layers.warnings, ["CODEX_PROXY_LISTNE sets nothing: no setting has this name"]);
    assert!(layers.problems.is_empty());
}

#[test]
fn what_is_unset_lies_in_the_data_folder_and_paths_of_a_file_beside_it() {
    let layers = read("data = \"d\"\nspool = \"s\"", &[]);
    let config = Config::build(&layers);
    let base = config.archive.spool.parent().unwrap();
    assert_eq!(config.data, base.join("d"));
    assert_eq!(config.store.url, format!("sqlite:{}", base.join("d/store.db").display()));
    assert_eq!(config.secret.to_string(), format!("file:{}", base.join("d/secret.key").display()));
}

#[test]
fn every_default_is_valid() {
    let layers = Layers::read(None, &[], &Vec::new());
    assert_eq!(layers.problems, []);
    let config = Config::build(&layers);
    assert_eq!(config.data, Path::new("codex-proxy-data"));
    assert_eq!(config.limits.exchanges, 4096);
    assert!(!config.upstream.idle_timeout.is_zero());
}

const UPSTREAMS: &str = "[upstream]\nkey = [\"env:ONE\", \"env:TWO\"]\n\
    headers = { OpenAI-Project = \"proj_1\", X-Gate-Token = \"env:GATE\" }\n\
    [[upstreams]]\nname = \"azure\"\nurl = \"https://a.example.com/openai?api-version=1\"\n\
    key = \"env:AZURE\"\nauth = \"api-key\"\nmodels = [\"gpt-4*\"]\npriority = 2\n\
    [upstreams.headers]\nX-Region = \"north\"\n\
    [[upstreams]]\nname = \"spare\"\nurl = \"http://b.example.com\"\nkey = [\"env:SPARE\"]\n";

#[test]
fn upstreams_are_read_from_a_file_and_from_a_variable() {
    let layers = read(UPSTREAMS, &[]);
    assert_eq!(layers.problems, []);
    let config = Config::build(&layers);
    let shown = layers.shown().find(|(path, ..)| *path == "upstreams").unwrap().2.unwrap().0;
    assert_eq!(
        shown,
        [
            "{ name = \"azure\", url = \"https://a.example.com/openai?api-version=1\", key = [\"env:AZURE\"], auth = \"api-key\", headers = { \"X-Region\" = \"north\" }, models = [\"gpt-4*\"], priority = 2 }",
            "{ name = \"spare\", url = \"http://b.example.com\", key = [\"env:SPARE\"] }",
        ]
    );
    assert_eq!(config.upstream.main.keys.len(), 2);
    assert_eq!(config.upstream.main.headers.len(), 2);

    let json = r#"[{"name":"azure","url":"https://a.example.com/openai?api-version=1","key":"env:AZURE",
        "auth":"api-key","models":["gpt-4*"],"priority":2,"headers":{"X-Region":"north"}},
        {"name":"spare","url":"http://b.example.com","key":["env:SPARE"]}]"#;
    let headers = r#"{"OpenAI-Project":"proj_1","X-Gate-Token":"env:GATE"}"#;
    let environment = [
        ("CODEX_PROXY_UPSTREAMS", json),
        ("CODEX_PROXY_UPSTREAM_KEY", "env:ONE, env:TWO"),
        ("CODEX_PROXY_UPSTREAM_HEADERS", headers),
    ];
    let layers = read("", &environment);
    assert_eq!(layers.problems, []);
    let from_variables = Config::build(&layers);
    assert_eq!(from_variables.upstreams, config.upstreams);
    assert_eq!(from_variables.upstream.main, Config::build(&layers).upstream.main);
    let pairs = [("CODEX_PROXY_UPSTREAM_HEADERS", "OpenAI-Project=proj_1,X-Gate-Token=env:GATE")];
    assert_eq!(
        Config::build(&read("", &pairs)).upstream.main.headers,
        config.upstream.main.headers
    );
}

#[test]
fn everything_wrong_with_upstreams_is_listed() {
    let file = "[upstream]\nauth = \"basic\"\nheaders = [\"a\"]\n\
        [[upstreams]]\nname = \"a\"\nurl = \"ftp://x\"\nkey = \"sk-literal\"\nmodles = [\"x\"]\n\
        [[upstreams]]\nname = \"b\"\nheaders = { Authorization = \"env:A\", X-Key = \"s3cr3t\" }\n\
        [[upstreams]]\nname = \"default\"\nurl = \"http://x\"\nkey = \"env:A\"\n";
    assert_eq!(
        problems(file, &[("CODEX_PROXY_UPSTREAM_HEADERS", "{\"a\":1}")]),
        [
            "codex-proxy.toml:2:1: upstream.auth `basic` is not one of bearer, api-key",
            "codex-proxy.toml:3:1: upstream.headers takes a table of texts",
            "codex-proxy.toml:6:1: upstreams.url `ftp://x` is no address: write http://HOST/PATH or https://HOST/PATH",
            "codex-proxy.toml:7:1: upstreams.key is a reference to a secret, never the secret: write env:NAME, file:PATH, secretsmanager:NAME or stdin",
            "codex-proxy.toml:8:1: an upstream has no modles: it has name, url, key, auth, headers, models, priority",
            "codex-proxy.toml:11:1: upstreams.headers authorization cannot be set: the credential is told with `key` and `auth`",
            "codex-proxy.toml:11:1: upstreams.headers x-key holds a secret: write env:NAME or file:PATH as its value",
            "codex-proxy.toml:9:1: an entry of upstreams needs url",
            "codex-proxy.toml:9:1: an entry of upstreams needs key",
            "CODEX_PROXY_UPSTREAM_HEADERS: upstream.headers is no JSON object of texts",
        ]
    );
    let layers =
        read("[[upstreams]]\nname = \"default\"\nurl = \"http://x\"\nkey = \"env:A\"\n", &[]);
    let taken = Config::build(&layers).contradictions(&layers);
    let what = "upstreams name `default` is that of [upstream]: choose another";
    assert_eq!(taken.iter().map(|problem| problem.what.as_str()).collect::<Vec<_>>(), [what]);
    let list = "CODEX_PROXY_UPSTREAMS: upstreams takes a list of tables: write [[upstreams]]";
    assert_eq!(problems("", &[("CODEX_PROXY_UPSTREAMS", "{}")]), [list]);
    let keys = vec!["env:A"; 65].join(",");
    let layers = read("", &[("CODEX_PROXY_UPSTREAM_KEY", keys.as_str())]);
    let many = Config::build(&layers).contradictions(&layers);
    assert_eq!(many[0].what, "there are 65 keys for upstreams; 64 at most can be used");
}

#[test]
fn places_to_listen_and_file_modes_say_what_is_allowed() {
    let file = "listen = [\"unix: \", \"nowhere\"]\nsocket_mode = \"rw\"\ntrusted_proxies = [\"::1\", \"10.0.0.0/33\"]";
    let expected = [
        "codex-proxy.toml:1:1: listen `unix: ` names no socket: write unix:PATH",
        "codex-proxy.toml:1:1: listen `nowhere` is no address: write HOST:PORT, as 127.0.0.1:8080, or unix:PATH",
        "codex-proxy.toml:2:1: socket_mode `rw` is no mode: write octal digits, as 0600 or 0660",
        "codex-proxy.toml:3:1: trusted_proxies `10.0.0.0/33` is no network: write 10.0.0.0/8, or an address",
    ];
    assert_eq!(problems(file, &[]), expected);
}

#[test]
fn everything_wrong_with_the_screen_is_listed() {
    let file = "[screen]\naction = \"maybe\"\nrules = { jwt = \"stop\" }\n\
        [[screen.custom]]\nid = \"a\"\npattern = \"x\"\n\
        [[screen.exceptions]]\nteam = [\"red\"]\n";
    assert_eq!(
        problems(file, &[]),
        [
            "codex-proxy.toml:2:1: screen.action `maybe` is not one of off, alert, mask, block",
            "codex-proxy.toml:3:1: screen.rules jwt: `stop` is not one of off, alert, mask, block",
            "codex-proxy.toml:4:1: an entry of screen.custom needs example",
            "codex-proxy.toml:8:1: an exception has no team: it has teams, users, keys, action, tiers, rules",
        ]
    );
    let custom = r#"[{"id":"acme","pattern":"ACME-(\\d{8})","example":"ACME-1"},
        {"id":"again","pattern":"(?=x)","example":"x"}]"#;
    let exceptions = r#"[{"action":"off","tiers":{"certian":"block"}},{"teams":["red"],"rules":{"nope":"off"}}]"#;
    let layers = read(
        "",
        &[
            ("CODEX_PROXY_SCREEN_CUSTOM", custom),
            ("CODEX_PROXY_SCREEN_EXCEPTIONS", exceptions),
            ("CODEX_PROXY_SCREEN_RULES", "nada=block"),
            ("CODEX_PROXY_SCREEN_TIERS_LIKELY", "alert"),
        ],
    );
    assert_eq!(layers.problems, []);
    let problems = Config::build(&layers).contradictions(&layers);
    let starts: Vec<String> = problems
        .iter()
        .map(|problem| problem.to_string().split(['\n', ';']).next().unwrap().to_owned())
        .collect();
    assert_eq!(
        starts,
        [
            "CODEX_PROXY_SCREEN_CUSTOM: rule `acme`: its pattern does not match its example",
            "CODEX_PROXY_SCREEN_CUSTOM: rule `again`: regex parse error:",
            "CODEX_PROXY_SCREEN_RULES: screen.rules: no rule is called nada",
            "CODEX_PROXY_SCREEN_EXCEPTIONS: screen.exceptions.tiers: `certian` is not one of certain, likely, possible",
            "CODEX_PROXY_SCREEN_EXCEPTIONS: an entry of screen.exceptions needs teams, users or keys",
            "CODEX_PROXY_SCREEN_EXCEPTIONS: screen.exceptions.rules: no rule is called nope",
        ]
    );
}
