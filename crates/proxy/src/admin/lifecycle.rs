//! Rules by which an S3 bucket deletes what is kept no longer, on its own.

use archive::retain::Keep;
use serde_json::{Value, json};

/// After so many days a part of an upload that was never completed goes.
const HALF_UPLOADS_DAYS: u64 = 7;
/// In a bucket that keeps versions, what was deleted goes after so many days.
const DELETED_DAYS: u64 = 1;

/// The rules for an `s3://` address, as `PutBucketLifecycleConfiguration` takes them.
pub fn rules(url: &str, keep: Keep) -> Option<Value> {
    let address = url.strip_prefix("s3://")?.trim_end_matches('/');
    let prefix = address.split_once('/').map(|(_, prefix)| format!("{prefix}/"));
    let prefix = prefix.unwrap_or_default();
    let rule = |kind: &str, days: u64| {
        json!({
            "ID": format!("codex-proxy {prefix}{kind}"),
            "Status": "Enabled",
            "Filter": { "Prefix": format!("{prefix}{kind}/") },
            // Counted from when the object was made, which is after its day began.
            "Expiration": { "Days": days.saturating_add(1) },
            "NoncurrentVersionExpiration": { "NoncurrentDays": DELETED_DAYS },
            "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": HALF_UPLOADS_DAYS },
        })
    };
    Some(json!({ "Rules": [rule("bodies", keep.bodies_days), rule("records", keep.records_days)] }))
}

#[cfg(test)]
mod tests {
    use archive::retain::Keep;
    use serde_json::json;

    use super::rules;

    #[test]
    fn a_bucket_keeps_what_the_settings_say() {
        let keep = Keep { bodies_days: 90, records_days: 400 };
        let told = |url: &str| {
            let rules = rules(url, keep)?;
            let rule = |index: usize| {
                let rule = &rules["Rules"][index];
                (rule["Filter"]["Prefix"].clone(), rule["Expiration"]["Days"].clone())
            };
            Some([rule(0), rule(1)])
        };
        let expected = |bodies: &str, records: &str| {
            Some([(json!(bodies), json!(91)), (json!(records), json!(401))])
        };
        assert_eq!(told("s3://audit"), expected("bodies/", "records/"));
        assert_eq!(told("s3://audit/codex/eu/"), expected("codex/eu/bodies/", "codex/eu/records/"));
        assert_eq!(told("file:archive"), None);
    }
}
