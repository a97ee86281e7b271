//! Secrets that AWS Secrets Manager keeps: API Reference, `GetSecretValue`.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::service::{Kind, Refused, Service, Unreachable};

const SECRETS_MANAGER: Kind =
    Kind { title: "AWS Secrets Manager", name: "secretsmanager", target: "secretsmanager" };

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It cannot even be asked for.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// It was asked for in vain.
    #[error("AWS Secrets Manager does not give the secret {id} in {region}: {why}")]
    Refused {
        /// As it is configured.
        id: String,
        /// Where it was asked for.
        region: String,
        /// What was said, and what to do.
        why: String,
    },
    /// It has no text.
    #[error(
        "AWS Secrets Manager has no text for the secret {0}: store it as plain text, or as JSON"
    )]
    NoText(String),
}

/// Fetches the text of a secret's current version, by its name or ARN; from `endpoint`, if that is
/// not Amazon's.
pub async fn text(id: &str, endpoint: Option<&str>) -> Result<Zeroizing<String>, Unread> {
    let service = Service::open(SECRETS_MANAGER, id, None, endpoint)?;
    let region = service.region_for(id);
    let answer = service.ask("GetSecretValue", region, &json!({ "SecretId": id })).await;
    let answer = answer.map_err(|refused| Unread::Refused {
        id: id.to_owned(),
        region: region.to_owned(),
        why: with_hint(&refused),
    })?;
    // What the answer says is not repeated: there is a secret in it.
    let no_text = || Unread::NoText(id.to_owned());
    let mut answer: Value = serde_json::from_slice(&answer).map_err(|_| no_text())?;
    match answer.get_mut("SecretString").map(Value::take) {
        Some(Value::String(text)) => Ok(Zeroizing::new(text)),
        _ => Err(no_text()),
    }
}

/// What was said, and what to do.
fn with_hint(refused: &Refused) -> String {
    let hint = refused.renew().or(match refused.code.as_str() {
        "AccessDeniedException" => {
            Some("allow secretsmanager:GetSecretValue with this secret to the role of this machine")
        }
        "DecryptionFailure" => {
            Some("allow kms:Decrypt with the secret's key to the role of this machine")
        }
        "InvalidRequestException" => Some("restore the secret, if it was deleted"),
        "ResourceNotFoundException" => {
            Some("write the name or ARN of a secret of this account and region")
        }
        _ => None,
    });
    hint.map_or_else(|| refused.to_string(), |hint| format!("{refused}: {hint}"))
}
