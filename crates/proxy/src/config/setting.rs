//! The table of all settings. Environment names, the schema and the checks come from it.

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Several texts.
    Texts,
    /// Origins of browsers, or `*`.
    Origins,
    /// `METHOD PATH` or `PATH`, at least one.
    Endpoints,
    /// `HOST:PORT` or `unix:PATH`, at least one.
    Listen,
    /// `HOST:PORT` or `unix:PATH`, several.
    Addresses,
    /// Who may open a file, in octal digits.
    Mode,
    /// Networks as `10.0.0.0/8`, or single addresses; several.
    Networks,
    /// `http://` or `https://` with a host.
    Url,
    /// An amount of memory: `64MiB`.
    Bytes,
    /// A length of time: `20s`.
    Duration,
    /// A positive whole number.
    Count,
    /// A file or folder.
    Path,
    /// Where a secret stands, never the secret.
    Reference,
    /// Several of them, at least one.
    References,
    /// Where a key of the archive stands, or which key of KMS it is.
    Key,
    /// Several of them, at least one.
    Keys,
    /// Headers: `NAME=VALUE`, several.
    Headers,
    /// What is done about secrets, by a name: `NAME=ACTION`, several.
    Actions,
    /// A list of tables.
    Tables(&'static Table),
    /// An engine's address: `SCHEME:REST`.
    Engine(&'static [&'static str]),
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// Whether it takes several values.
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Self::Texts
                | Self::Origins
                | Self::Endpoints
                | Self::Listen
                | Self::Addresses
                | Self::References
                | Self::Keys
                | Self::Headers
                | Self::Actions
                | Self::Tables(_)
                | Self::Networks
        )
    }

    /// Whether a file writes it as a table of texts.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Headers | Self::Actions)
    }

    /// What a file may write for it.
    pub fn allowed(self) -> String {
        let allowed = match (self, self.is_list(), self.takes()) {
            (Self::Tables(table), ..) => {
                return format!("a list of tables: write [[{}]]", table.path);
            }
            (Self::Headers | Self::Actions, ..) => "a table of texts",
            (_, true, _) => "a list of texts",
            (_, false, (true, true)) => "a number or a text",
            (_, false, (true, false)) => "a number",
            (_, false, _) => "a text",
        };
        allowed.to_owned()
    }

    /// Whether a file may write it as a number, as a text.
    pub fn takes(self) -> (bool, bool) {
        match self {
            Self::Count => (true, false),
            Self::Bytes => (true, true),
            _ => (false, true),
        }
    }
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its dotted name in the file.
    pub path: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value where nobody sets it; empty: none.
    pub default: &'static str,
    /// What it is for.
    pub doc: &'static str,
}

pub(super) const fn setting(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { path, kind, default, doc }
}

use serde_json::{Map, Value, json};

use super::attribution;
use super::entry::Table;
use super::screen::{self, Action};
use super::target::{self, AuthHeader};
use Kind::{
    Actions, Addresses, Bytes, Choice, Count, Duration, Endpoints, Engine, Headers, Key, Keys,
    Listen, Mode, Networks, Origins, Path, Reference, References, Tables, Text, Texts, Url,
};

/// All settings, in the order in which they are shown.
#[rustfmt::skip] // A table reads best as one.
pub const SETTINGS: &[Setting] = &[
    setting("data", Path, "codex-proxy-data", "the folder of everything this installation owns"),
    setting("listen", Listen, "127.0.0.1:8080", "where the gateway listens: `HOST:PORT` or `unix:PATH`"),
    setting("admin_listen", Addresses, "", "where health and metrics are served; unset: on `listen`"),
    setting("socket_mode", Mode, "0600", "who may connect to a Unix socket of `listen`, as a file's mode"),
    setting("proxy_protocol", Networks, "", "load balancers whose connections begin with a PROXY header, as networks or addresses"),
    setting("trusted_proxies", Networks, "", "proxies whose `x-forwarded-for` names the client, as networks or addresses"),
    setting("contact", Text, "", "whom a refusal tells the developer to ask"),
    setting("endpoints", Endpoints, "*", "open endpoints below /v1, as `POST /v1/responses` or `/v1/models*`"),
    setting("cors_origins", Origins, "", "origins that browsers may ask from; `*`: any"),
    setting("websocket", Choice(&["on", "off"]), "on", "whether WebSocket is spoken; off: an upgrade is answered 426"),
    setting("chat_usage", Choice(&["off", "inject"]), "off", "whether the upstream is asked for the usage of chat streams whose client did not ask for it; inject: the client gets the stream without it"),
    setting("max_body", Bytes, "64MiB", "largest request body, or message of a WebSocket"),
    setting("max_buffered", Bytes, "512MiB", "all request bodies in memory together"),
    setting("drain_timeout", Duration, "20s", "how long open exchanges may go on after the order to stop"),
    setting("secrets_refresh", Duration, "5m", "how often AWS Secrets Manager is asked again for keys and headers of upstreams that it keeps"),
    setting("secret", Reference, "", "what key hashes are made with; unset: secret.key in the data folder"),
    setting("spool", Path, "", "folder on local disk that feeds the archive; unset: spool in the data folder"),
    setting("upstreams", Tables(&target::TABLE), "", "further upstreams and keys, see docs/upstreams.md"),
    setting("when_store_lost", Choice(&["serve_known", "refuse"]), "serve_known", "what happens while the store cannot be reached: keys that are known go on for store.staleness, or nobody does"),
    setting("prices", Path, "", "your own price table, over the built-in one; unset: prices.toml in the data folder, where it is there"),
    setting("tls.certificate", Path, "", "PEM file with the certificate that clients are shown, and its chain; unset: no TLS"),
    setting("tls.key", Path, "", "PEM file with the certificate's private key"),
    setting("tls.client_ca", Path, "", "PEM file with the authorities whose client certificates are taken; unset: none is asked"),
    setting("tls.client_auth", Choice(&["required", "optional"]), "required", "whether a client must show a certificate"),
    setting("client.head_timeout", Duration, "2m", "longest wait for a request's head, also between requests"),
    setting("client.body_timeout", Duration, "1m", "longest wait between two pieces of a request's body"),
    setting("client.read_timeout", Duration, "5m", "longest wait for a client that does not read what was sent"),
    setting("upstream.url", Url, "https://api.openai.com/v1", "base address of the OpenAI API"),
    setting("upstream.key", References, "env:OPENAI_API_KEY", "the organisation's OpenAI key, or several"),
    setting("upstream.auth", Choice(AuthHeader::WORDS), "bearer", "the header in which the key goes"),
    setting("upstream.headers", Headers, "", "further headers, as OpenAI-Project; they go with the organisation's key"),
    setting("upstream.chatgpt_url", Url, "https://chatgpt.com/backend-api", "where /backend-api goes, with the caller's own credential"),
    setting("upstream.connect_timeout", Duration, "10s", "longest wait for a connection, TLS included"),
    setting("upstream.first_byte_timeout", Duration, "15m", "longest wait for the answer's head"),
    setting("upstream.idle_timeout", Duration, "10m", "longest wait between two pieces of an answer"),
    setting("limits.exchanges", Count, "4096", "exchanges under way at once"),
    setting("limits.exchanges_per_key", Count, "256", "of them, by one key"),
    setting("limits.connections", Count, "16384", "connections from clients at once"),
    setting("attribution.paths", Choice(&["name", "full"]), "name", "how much of a repository's path is in records: the last folder's name, or all of it"),
    setting("attribution.headers", Texts, "", "headers whose values become tags in records, as x-cost-center"),
    setting("attribution.tags", Tables(&attribution::TAGS), "", "tags for some teams, people or keys, see docs/records.md"),
    setting("budgets.bound", Choice(&["worst", "observed"]), "worst", "what an exchange reserves of budgets: the most it may cost, or what hardly any of its model has cost here"),
    setting("budgets.unpriced_rate", Count, "", "what a model without a price counts in budgets, US dollars per million tokens; unset: it is refused where a budget in money applies"),
    setting("reconcile.admin_key", Reference, "", "an administrator's key of the OpenAI organisation, which only `reconcile` uses"),
    setting("reconcile.url", Url, "", "where usage and costs are asked; unset: as upstream.url says"),
    setting("reconcile.keys", Texts, "", "ids of the OpenAI keys that this gateway uses, as key_…; unset: all of the organisation's"),
    setting("reconcile.projects", Texts, "", "ids of the OpenAI projects that are looked at, as proj_…; unset: all"),
    setting("store.url", Engine(&["sqlite:PATH", "postgres://USER@HOST/DATABASE", "postgresql://USER@HOST/DATABASE"]), "", "where keys and budgets live; unset: store.db in the data folder"),
    setting("store.password", Reference, "", "the password of a database, where it does not stand in its address"),
    setting("store.staleness", Duration, "10m", "how long what is known of keys and budgets is good enough while the store is lost, with when_store_lost = serve_known"),
    setting("archive.url", Engine(&["file:PATH", "s3://BUCKET/PREFIX", "gs://BUCKET/PREFIX", "az://CONTAINER/PREFIX"]), "", "where records and bodies live; unset: archive in the data folder"),
    setting("archive.region", Text, "", "region of the bucket of an s3:// address; unset: as AWS_REGION says"),
    setting("archive.endpoint", Url, "", "where S3 answers that is not Amazon's"),
    setting("archive.path_style", Choice(&["auto", "on", "off"]), "auto", "whether requests name the bucket in the path; auto: with an endpoint"),
    setting("archive.kms_key", Text, "", "KMS key with which S3 encrypts what is put; unset: as the bucket says"),
    setting("archive.encryption_key", Key, "", "the key with which bodies and records are encrypted before they are put: env:NAME, file:PATH or kms:KEY; unset: they are not"),
    setting("archive.encryption_keys_old", Keys, "", "keys of before, with which what is there already is read"),
    setting("archive.kms_endpoint", Url, "", "where KMS answers, if not at its usual place"),
    setting("archive.bodies", Choice(&["full", "none"]), "full", "whether bodies are kept"),
    setting("archive.retain_days", Count, "90", "how many days bodies are kept"),
    setting("archive.retain_records_days", Count, "400", "how many days records are kept"),
    setting("archive.sync", Choice(&["os", "group", "always"]), "group", "when the spool is brought to the disk itself"),
    setting("archive.when_full", Choice(&["refuse", "proceed"]), "refuse", "what happens when no record can be written"),
    setting("archive.seal_after", Duration, "1m", "how long a journal of the spool grows"),
    setting("archive.spool_quota", Bytes, "10GiB", "the most that may wait in the spool for the archive"),
    setting("screen.action", Choice(Action::WORDS), "mask", "what is done about secrets in requests"),
    setting("screen.unreadable", Choice(&["refuse", "pass"]), "refuse", "what becomes of a request's body that cannot be read"),
    setting("screen.scan", Choice(&["daily", "off"]), "daily", "whether what is stored is looked through with today's rules once a day"),
    setting("screen.tiers.certain", Choice(Action::WORDS), "", "what is done about what surely is a secret; unset: as screen.action says"),
    setting("screen.tiers.likely", Choice(Action::WORDS), "", "about what most likely is one; unset: as screen.action says"),
    setting("screen.tiers.possible", Choice(Action::WORDS), "", "about what may be one; unset: alert, unless screen.action is off"),
    setting("screen.rules", Actions, "", "what is done by rule, over all that is said by tier"),
    setting("screen.allow.patterns", Texts, "", "regular expressions of values that are no secrets, each for a whole value"),
    setting("screen.allow.paths", Texts, "", "files whose contents are no secrets, with `*`, where a tool call tells the file"),
    setting("screen.allow.fingerprints", Texts, "", "fingerprints of values that are no secrets, as refusals and diagnostics tell them"),
    setting("screen.custom", Tables(&screen::CUSTOM), "", "rules of your own, see docs/secrets.md"),
    setting("screen.exceptions", Tables(&screen::EXCEPTIONS), "", "what is done for some teams, people or keys, see docs/secrets.md"),
];

/// Settings that hold from start to end: a change of them needs a restart.
pub const FIXED: &[&str] = &[
    "data",
    "listen",
    "admin_listen",
    "socket_mode",
    "max_buffered",
    "secret",
    "spool",
    "limits.exchanges",
    "limits.connections",
    "store.url",
    "store.password",
    "store.staleness",
    "when_store_lost",
    "archive.url",
    "archive.region",
    "archive.endpoint",
    "archive.path_style",
    "archive.kms_key",
    "archive.encryption_key",
    "archive.encryption_keys_old",
    "archive.kms_endpoint",
    "archive.retain_days",
    "archive.retain_records_days",
    "archive.sync",
    "archive.seal_after",
    "archive.spool_quota",
    "screen.scan",
];

/// The setting of this name.
pub fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// The environment variable that sets it: `upstream.url` is `CODEX_PROXY_UPSTREAM_URL`.
pub fn variable(path: &str) -> String {
    format!("CODEX_PROXY_{}", path.replace('.', "_").to_uppercase())
}

/// The JSON Schema of the configuration file.
pub fn schema() -> Value {
    let mut properties = Map::new();
    for setting in SETTINGS {
        insert(&mut properties, setting.path, property(setting));
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "codex-proxy.toml",
    });
    if let (Some(schema), Value::Object(root)) = (schema.as_object_mut(), object(&properties)) {
        schema.extend(root);
    }
    schema
}

/// Puts a property below the tables that its dotted name goes through.
fn insert(properties: &mut Map<String, Value>, path: &str, property: Value) {
    let Some((table, rest)) = path.split_once('.') else {
        properties.insert(path.to_owned(), property);
        return;
    };
    let table = properties.entry(table).or_insert_with(|| object(&Map::new()));
    if let Some(inner) = table.get_mut("properties").and_then(Value::as_object_mut) {
        insert(inner, rest, property);
    }
}

fn object(properties: &Map<String, Value>) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn property(setting: &Setting) -> Value {
    let mut property = Map::new();
    match setting.kind {
        Choice(words) => drop(property.insert("enum".to_owned(), json!(words))),
        Count => property.extend([entry("type", "integer"), ("minimum".to_owned(), json!(1))]),
        Bytes => drop(property.insert("type".to_owned(), json!(["string", "integer"]))),
        Headers => {
            property.extend([entry("type", "object")]);
            property.insert("additionalProperties".to_owned(), json!({ "type": "string" }));
        }
        Actions => {
            property.extend([entry("type", "object")]);
            let words = json!({ "enum": Action::WORDS });
            property.insert("additionalProperties".to_owned(), words);
        }
        Tables(table) => {
            let members = table.members.iter();
            let members = members.map(|one| (one.path.to_owned(), self::property(one)));
            let mut items = object(&members.collect());
            if let Some(items) = items.as_object_mut() {
                items.insert("required".to_owned(), json!(table.needed));
            }
            property.extend([entry("type", "array")]);
            property.insert("items".to_owned(), items);
        }
        Texts | Addresses | Endpoints | Listen | Networks | Origins | References | Keys => {
            property.insert("type".to_owned(), json!(["array", "string"]));
            property.insert("items".to_owned(), json!({ "type": "string" }));
        }
        Text | Url | Duration | Path | Mode | Reference | Key | Engine(_) => {
            property.extend([entry("type", "string")]);
        }
    }
    property.extend([entry("description", setting.doc)]);
    if !setting.default.is_empty() {
        property.extend([entry("default", setting.default)]);
    }
    Value::Object(property)
}

fn entry(name: &str, text: &str) -> (String, Value) {
    (name.to_owned(), text.into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{FIXED, SETTINGS, find, schema, variable};

    #[test]
    fn environment_names_do_not_collide() {
        let names: HashSet<String> = SETTINGS.iter().map(|s| variable(s.path)).collect();
        assert_eq!(names.len(), SETTINGS.len());
        assert!(!names.contains("CODEX_PROXY_CONFIG"));
    }

    #[test]
    fn what_is_fixed_is_a_setting() {
        assert!(FIXED.iter().all(|path| find(path).is_some()));
    }

    #[test]
    fn the_schema_has_every_setting() {
        let schema = schema();
        let url = &schema["properties"]["upstream"]["properties"]["url"];
        assert_eq!(url["default"], "https://api.openai.com/v1");
        assert_eq!(schema["properties"]["listen"]["default"], "127.0.0.1:8080");
        let upstream = &schema["properties"]["upstreams"]["items"];
        assert_eq!(
            upstream["properties"]["auth"]["enum"],
            serde_json::json!(["bearer", "api-key"])
        );
        assert_eq!(upstream["properties"]["headers"]["additionalProperties"]["type"], "string");
    }
}
