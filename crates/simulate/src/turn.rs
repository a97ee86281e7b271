//! What the model did with one request.

use crate::{ask::Dialect, bill::Usage, seed::Ids};

/// One answer, not yet in any dialect.
pub(crate) struct Turn {
    /// Its ids.
    pub(crate) ids: Ids,
    /// How it was asked for, and is answered.
    pub(crate) dialect: Dialect,
    /// The model that answered.
    pub(crate) model: String,
    /// The tier that answered.
    pub(crate) tier: String,
    /// What it wrote, in order.
    pub(crate) items: Vec<Item>,
    /// How it ended.
    pub(crate) end: End,
    /// What it used, if the answer says so.
    pub(crate) usage: Option<Usage>,
}

/// One piece of output.
pub(crate) enum Item {
    /// Thinking.
    Reasoning {
        /// `rs_…`
        id: String,
        /// A summary, in deltas; empty if none was asked for.
        summary: Vec<String>,
        /// What only the API can read.
        encrypted: Option<String>,
    },
    /// Text, in deltas.
    Message {
        /// `msg_…`
        id: String,
        /// The deltas.
        deltas: Vec<String>,
    },
    /// A tool call.
    Call(ToolCall),
    /// The conversation so far, made small.
    Compaction {
        /// `cmp_…`
        id: String,
        /// What only the API can read.
        encrypted: String,
    },
}

/// A tool call.
pub(crate) struct ToolCall {
    /// `fc_…` or `ctc_…`
    pub(crate) id: String,
    /// `call_…`
    pub(crate) call_id: String,
    /// The tool.
    pub(crate) name: String,
    /// The namespace it stands in.
    pub(crate) namespace: Option<String>,
    /// JSON arguments, or the text for a custom tool.
    pub(crate) input: String,
    /// Which of the two.
    pub(crate) kind: ToolKind,
}

/// The two kinds of tools.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolKind {
    /// JSON in.
    Function,
    /// Text in.
    Custom,
}

/// How an answer ends.
pub(crate) enum End {
    /// As it should.
    Completed,
    /// Too early, for this reason.
    Incomplete(String),
    /// With an error.
    Failed {
        /// `error.code`
        code: String,
        /// `error.message`
        message: String,
    },
}

impl Turn {
    /// The answer's id.
    pub(crate) fn id(&self) -> String {
        let prefix = match self.dialect {
            Dialect::Responses => "resp_",
            Dialect::Chat => "chatcmpl-",
        };
        self.ids.id(prefix, 0)
    }

    /// The tool calls among the items.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.items.iter().filter_map(|item| match item {
            Item::Call(call) => Some(call),
            Item::Reasoning { .. } | Item::Message { .. } | Item::Compaction { .. } => None,
        })
    }
}

impl Item {
    /// Bytes of what the client can read.
    pub(crate) fn text_bytes(&self) -> u64 {
        let length = match self {
            Self::Reasoning { .. } => 0,
            Self::Compaction { encrypted, .. } => encrypted.len(),
            Self::Message { deltas, .. } => deltas.iter().map(String::len).sum(),
            Self::Call(call) => call.name.len() + call.input.len(),
        };
        u64::try_from(length).unwrap_or(u64::MAX)
    }
}
