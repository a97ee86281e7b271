//! S3 at Amazon, and at whoever speaks its protocol.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use reqwest::{Client, Method, StatusCode};

use super::retention::Retention;
use super::{Access, AskRetention, BucketIn, Opened, remote};
use crate::Error;

/// How long a signed question may be asked; the longest wait for its answer.
const QUESTION: Duration = Duration::from_secs(20);

pub(super) fn open(rest: &str, access: &Access) -> Result<Opened, Error> {
    let (name, prefix) = remote::bucket(rest)?;
    let objects = builder(name, access).build()?;
    let retention = Arc::new(Bucket(objects.clone()));
    Ok(Opened { objects: remote::below(objects, prefix), retention })
}

fn builder(name: &str, access: &Access) -> AmazonS3Builder {
    // Credentials as Amazon's own tools find them in the environment, else those of the machine.
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(name)
        .with_client_options(remote::client())
        .with_retry(remote::retries())
        // A bucket with Object Lock takes no object without a checksum.
        .with_checksum_algorithm(Checksum::SHA256);
    if let Some(region) = &access.region {
        builder = builder.with_region(region);
    }
    let named = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let endpoint = access.endpoint.clone().or(named);
    let in_host = match access.bucket_in {
        BucketIn::Usual => endpoint.is_none(),
        BucketIn::Host => true,
        BucketIn::Path => false,
    };
    builder = builder.with_virtual_hosted_style_request(in_host);
    if let Some(endpoint) = endpoint {
        // Unencrypted only where that is what was asked for.
        let plain = endpoint.starts_with("http://");
        let endpoint = if in_host { in_front(name, &endpoint) } else { endpoint };
        builder = builder.with_endpoint(endpoint).with_allow_http(plain);
    }
    if let Some(key) = &access.kms_key {
        // With a bucket key KMS is asked once in a while, not for each object.
        builder = builder.with_sse_kms_encryption(key).with_bucket_key(true);
    }
    builder
}

/// An endpoint with the bucket in front of its host.
fn in_front(bucket: &str, endpoint: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => endpoint.to_owned(),
    }
}

/// Asks a bucket for its settings.
struct Bucket(AmazonS3);

#[async_trait::async_trait]
impl AskRetention for Bucket {
    async fn ask(&self) -> Result<Retention, Error> {
        let question = SignedUrlOptions::new().with_query([("object-lock", "")]);
        let bucket = Path::default();
        let signed = self.0.signed_url_opts(Method::GET, &bucket, QUESTION, &question).await?;
        let asked = async {
            let client = Client::builder().timeout(QUESTION).build()?;
            let answer = client.get(signed).send().await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.text().await?))
        };
        // The address holds a signature: it is not repeated.
        let asked = asked.await.map_err(reqwest::Error::without_url);
        Ok(asked.map_or_else(
            |error| Retention::Unknown(error.to_string()),
            |(status, text)| read(status, &text),
        ))
    }
}

/// Reads the answer to `GetObjectLockConfiguration`.
fn read(status: StatusCode, text: &str) -> Retention {
    if status == StatusCode::NOT_FOUND && text.contains("ObjectLockConfigurationNotFoundError") {
        return Retention::Off;
    }
    if !status.is_success() {
        let code = element(text, "Code").unwrap_or("it does not say why");
        return Retention::Unknown(format!("the bucket answers {}: {code}", status.as_u16()));
    }
    // The lock may be there without a rule: then it holds only for objects that ask for it.
    let Some(rule) = element(text, "DefaultRetention") else { return Retention::Off };
    let mode = element(rule, "Mode").unwrap_or_default();
    let units = [("Days", "days"), ("Years", "years")];
    let time = units.iter().find_map(|(name, unit)| Some((element(rule, name)?, unit)));
    match time {
        Some((count, unit)) => Retention::On(format!("{mode} {count} {unit}")),
        None => Retention::On(mode.to_owned()),
    }
}

/// What stands in the first element of this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::super::retention::Retention;
    use super::{in_front, read};

    #[test]
    fn what_a_bucket_says_of_its_lock() {
        let rule = "<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>400</Days>\
                    </DefaultRetention></Rule>";
        let enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
        let none = "<Error><Code>ObjectLockConfigurationNotFoundError</Code></Error>";
        let denied = "<Error><Code>AccessDenied</Code></Error>";
        let unknown = "the bucket answers 403: AccessDenied".to_owned();
        let cases = [
            (200, format!("{enabled}{rule}"), Retention::On("COMPLIANCE 400 days".to_owned())),
            (200, enabled.to_owned(), Retention::Off),
            (404, none.to_owned(), Retention::Off),
            (403, denied.to_owned(), Retention::Unknown(unknown)),
        ];
        for (status, text, expected) in cases {
            assert_eq!(read(StatusCode::from_u16(status).unwrap(), &text), expected);
        }
    }

    #[test]
    fn a_bucket_may_stand_in_the_host() {
        assert_eq!(in_front("audit", "https://s3.host:9000"), "https://audit.s3.host:9000");
    }
}
