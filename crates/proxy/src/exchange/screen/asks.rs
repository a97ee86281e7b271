//! Whether the body of a request says what is asked.

use http::HeaderMap;
use wire::ask::Ask;

use super::{FORM, content_type};
use crate::exchange::endpoint::{Endpoint, Operation};

/// Whether a body says what is asked. Those are read whole in any case; uploads are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// It does.
    Something,
    /// It does not.
    Nothing,
}

impl Asks {
    /// What a body of this type asks.
    pub(super) fn read(self, content_type: &str, body: &[u8]) -> Option<Ask> {
        match self {
            Self::Nothing => None,
            Self::Something if content_type.to_ascii_lowercase().starts_with(FORM) => {
                Ask::read_form(content_type, body)
            }
            Self::Something => Ask::read(body),
        }
    }
}

/// Whether a request's body says what is asked.
pub(super) fn asks(endpoint: &Endpoint, headers: &HeaderMap) -> Asks {
    let kind = content_type(headers).to_ascii_lowercase();
    let asks = match endpoint.operation {
        Operation::Responses | Operation::ChatCompletions => true,
        Operation::Work => {
            kind.contains("json") || (kind.starts_with(FORM) && names_model(endpoint))
        }
        Operation::Other => kind.contains("json"),
    };
    if asks { Asks::Something } else { Asks::Nothing }
}

/// Whether forms that are sent there have a field for the model: images, recordings, films. Files
/// have none, and are large.
fn names_model(endpoint: &Endpoint) -> bool {
    ["/images/", "/audio/", "/videos"].iter().any(|below| endpoint.path.starts_with(below))
}
