use super::*;

fn read(headers: &[(&str, &'static str)], ask: &Ask) -> Attribution {
    let find = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    Attribution::read(&find, ask, Paths::Name)
}

const METADATA: &str = r#"{"installation_id":"i","session_id":"s","thread_id":"t","turn_id":"u",
    "agent_name":"/root","request_kind":"turn","thread_source":"user","sandbox":"seccomp",
    "window_number":0,"analytics_enabled":true,"model":"gpt-5.5","team":"blue","cost_center":"47",
    "workspaces":{"/home/ada/work/engine/":{"latest_git_commit_hash":"c0ffee","has_changes":true}}}"#;

fn expected() -> Attribution {
    Attribution {
        session_id: Some("s".into()),
        thread_id: Some("t".into()),
        turn_id: Some("u".into()),
        repo: Some("engine".into()),
        commit: Some("c0ffee".into()),
        request_kind: RequestKind::Turn,
        tags: [("team", "blue"), ("cost_center", "47")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Attribution::default()
    }
}

#[test]
fn a_codex_turn_is_attributed() {
    let headers = [
        ("session-id", "session"),
        ("thread-id", "thread"),
        ("x-codex-turn-metadata", METADATA),
        ("x-codex-parent-thread-id", "parent"),
        ("x-openai-subagent", "review"),
        ("originator", "codex_exec"),
        ("user-agent", "codex_exec/0.169.0 (Debian 13; x86_64) xterm (codex_exec; 0.169.0)"),
    ];
    let expected = Attribution {
        session_id: Some("session".into()),
        thread_id: Some("thread".into()),
        parent_thread_id: Some("parent".into()),
        subagent: Some("review".into()),
        client: Some("codex_exec".into()),
        client_version: Some("0.169.0".into()),
        ..expected()
    };
    assert_eq!(read(&headers, &Ask::default()), expected);
}

#[test]
fn the_body_of_a_websocket_request_goes_before_the_handshake() {
    let handshake = r#"{"request_kind":"prewarm","turn_id":"","session_id":"s"}"#;
    let ask = Ask { turn_metadata: Some(METADATA.into()), ..Ask::default() };
    assert_eq!(read(&[("x-codex-turn-metadata", handshake)], &ask), expected());
}

#[test]
fn headers_of_older_versions_are_understood() {
    for name in ["session_id", "conversation_id"] {
        let expected = Attribution { session_id: Some("s".into()), ..Attribution::default() };
        assert_eq!(read(&[(name, "s")], &Ask::default()), expected);
    }
}

#[test]
fn another_client_is_known_by_its_user_agent() {
    for (user_agent, client, version) in [
        ("OpenAI/Python 1.55.0", Some("OpenAI".into()), Some("1.55.0".into())),
        ("curl/8.5.0", Some("curl".into()), Some("8.5.0".into())),
        ("agent/next", Some("agent".into()), None),
        ("agent", Some("agent".into()), None),
        ("", None, None),
    ] {
        let expected = Attribution { client, client_version: version, ..Attribution::default() };
        assert_eq!(read(&[("user-agent", user_agent)], &Ask::default()), expected);
    }
}

#[test]
fn the_kind_of_request_follows_what_is_known() {
    let named = |kind: &str| Ask {
        turn_metadata: Some(format!(r#"{{"request_kind":"{kind}"}}"#)),
        ..Ask::default()
    };
    let prewarm = Ask { generate: false, ..Ask::default() };
    let model = Ask { model: Some("gpt-5.5".into()), ..Ask::default() };
    for (ask, kind) in [
        (named("turn"), RequestKind::Turn),
        (named("prewarm"), RequestKind::Prewarm),
        (named("compaction"), RequestKind::Compaction),
        (named("something new"), RequestKind::Turn),
        (prewarm, RequestKind::Prewarm),
        (model, RequestKind::Turn),
        (Ask::default(), RequestKind::Other),
    ] {
        assert_eq!(read(&[], &ask).request_kind, kind, "{ask:?}");
    }
}

#[test]
fn of_several_workspaces_none_is_the_repository() {
    let metadata = r#"{"request_kind":"turn","workspaces":{"/a":{},"/b":{}}}"#;
    let expected = Attribution { request_kind: RequestKind::Turn, ..Attribution::default() };
    assert_eq!(read(&[("x-codex-turn-metadata", metadata)], &Ask::default()), expected);
}

#[test]
fn values_are_bounded_and_without_control_characters() {
    let long = format!("a\u{7}\n{}é", "b".repeat(254));
    let ask = Ask { session_id: Some(long), thread_id: Some(" \u{1} ".into()), ..Ask::default() };
    let expected =
        Attribution { session_id: Some(format!("a{}", "b".repeat(254))), ..Attribution::default() };
    assert_eq!(read(&[], &ask), expected);
}
