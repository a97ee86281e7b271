//! The cases, a line each.

/// What one run of Codex goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) words: String,
    /// Whether it is among the few that every test run goes through.
    short: Length,
    pub(crate) telling: Telling,
    pub(crate) turn: Turn,
}

/// Where a case's words stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the prompt.
    Turn,
    /// In the prompt, on a WebSocket only.
    Message,
    /// In what the upstream is told about handshakes.
    Upgrade,
}

/// Which list a case is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Short,
    Long,
}

/// Who says what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// The upstream: the same words either way.
    Upstream,
    /// There was no word of the upstream's, so that with the gateway there is one of its own.
    Gateway,
}

/// What is done on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Plain,
    Image,
    Compact,
    Resume,
    Idle,
}

impl Case {
    /// Whether it is on the short list.
    pub(crate) fn is_short(&self) -> bool {
        self.short == Length::Short
    }
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let lines = include_str!("../../../matrix/cases.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(case).collect()
}

fn case(line: &str) -> Case {
    let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
    let kind = match parts[0] {
        "turn" => Kind::Turn,
        "message" => Kind::Message,
        "upgrade" => Kind::Upgrade,
        other => panic!("no kind of case: {other}"),
    };
    let mark = parts.get(3).copied().unwrap_or_default();
    let short = if mark == "!" { Length::Short } else { Length::Long };
    let telling = if mark == "~" { Telling::Gateway } else { Telling::Upstream };
    let known = [
        (" IMAGE", Turn::Image),
        (" COMPACT", Turn::Compact),
        (" RESUME", Turn::Resume),
        (" IDLE", Turn::Idle),
    ];
    let found = known.iter().find_map(|(end, turn)| Some((parts[1].strip_suffix(end)?, *turn)));
    let (name, turn) = found.unwrap_or((parts[1], Turn::Plain));
    Case { kind, name: name.to_owned(), words: parts[2].to_owned(), short, telling, turn }
}
