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
    assert_eq!(config.upstream.url.to_string(), "http://a/v1");
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
            "codex-proxy.toml:5:1: upstream.key is a reference to a secret, never the secret: write env:NAME, file:PATH or stdin",
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
    assert_eq!(config.store_url, format!("sqlite:{}", base.join("d/store.db").display()));
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
