//! The documents that the operator writes for a connection, one by one: to compare them with a guide, or for a review.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::credentials::{KeyPair, Sensitive, secret_data};
use crate::desired::Desired;
use crate::settings::cors::CorsRule;
use crate::settings::{Live, SettingId, Write};

/// The text in place of a secret.
const REDACTED: &str = "(secret)";

/// The IAM policy of the user, as it is sent to IAM.
pub fn policy(desired: &Desired) -> Value {
    desired.policy.document.to_json()
}

/// The CORS rules as S3's console and CLI write them; null if the operator leaves CORS as it is.
pub fn cors(desired: &Desired) -> Value {
    let Some(rules) = &desired.bucket.settings.cors else { return Value::Null };
    rules.iter().map(rule).collect()
}

/// A rule with the names of AWS's JSON.
fn rule(rule: &CorsRule) -> Value {
    let fields = serde_json::to_value(rule).unwrap_or_default();
    let name = |field: &str| match field {
        "id" => "ID".to_owned(),
        _ => field.chars().take(1).flat_map(char::to_uppercase).chain(field.chars().skip(1)).collect(),
    };
    let fields = fields.as_object().into_iter().flatten();
    fields.map(|(field, value)| (name(field), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

/// The bucket policy that a bucket without one gets; null if the operator writes none.
pub fn bucket_policy(desired: &Desired) -> Value {
    let (changes, _) = desired.bucket.settings.changes(&Live::of_new_bucket());
    let write = changes.into_iter().find(|change| change.setting == SettingId::BucketPolicy).map(|change| change.write);
    let Some(Write::BucketPolicy(text)) = write else { return Value::Null };
    serde_json::from_str(&text.text()).unwrap_or_default()
}

/// The Secret, without the secrets; null if the user provides the key.
pub fn secret(desired: &Desired, namespace: &str) -> Value {
    if !desired.identity.is_managed() {
        return Value::Null;
    }
    let key = KeyPair { id: "(id of the access key)".to_owned(), secret: Sensitive::new(REDACTED.to_owned()) };
    let data = secret_data(&desired.secret.fields, &key);
    let shown = data.iter().map(|(name, field)| {
        let value = if field.secret { REDACTED } else { field.value.reveal() };
        (*name, value.to_owned())
    });
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": desired.secret.name, "namespace": namespace },
        "type": "Opaque",
        "stringData": shown.collect::<BTreeMap<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{Account, Grant, resolve};
    use crate::vocabulary::policy_language::canonical;

    fn desired(spec: Value) -> Desired {
        let object = json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
            "metadata": { "name": "genomics", "namespace": "lab" }, "spec": spec,
        });
        let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
        resolve(&serde_json::from_value(object).unwrap(), "cluster", &account, &Grant::of_unknown_account()).unwrap()
    }

    /// The two documents of Illumina's guide "Connect AWS S3 Bucket", with a name in place of `BUCKET_NAME`.
    #[test]
    fn the_documents_of_illuminas_guide_come_out() {
        let guide = json!({ "preset": "IlluminaICA", "region": "us-east-1", "bucket": { "name": "BUCKET-NAME".to_lowercase(), "prefix": "runs/" }, "policy": { "scope": "Bucket" } });
        let desired = desired(guide);
        assert_eq!(
            cors(&desired),
            json!([{
                "AllowedHeaders": ["*"],
                "AllowedMethods": ["HEAD", "GET", "PUT", "POST", "DELETE"],
                "AllowedOrigins": ["https://ica.illumina.com"],
                "ExposeHeaders": ["ETag", "x-amz-meta-custom-header"],
            }])
        );
        let guide = json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": ["s3:PutBucketNotification", "s3:ListBucket", "s3:GetBucketNotification", "s3:GetBucketLocation"],
                    "Resource": ["arn:aws:s3:::bucket-name"],
                },
                {
                    "Effect": "Allow",
                    "Action": ["s3:PutObject", "s3:GetObject", "s3:RestoreObject", "s3:DeleteObject"],
                    "Resource": "arn:aws:s3:::bucket-name/*",
                },
                { "Effect": "Allow", "Action": ["sts:GetFederationToken"], "Resource": ["*"] },
            ],
        });
        let mut ours = policy(&desired);
        assert_eq!(canonical(&ours), canonical(&guide));
        // To the letter, except that the guide writes one list of one resource as a text.
        ours["Statement"][1]["Resource"] = ours["Statement"][1]["Resource"][0].clone();
        assert_eq!(ours, guide);
    }

    #[test]
    fn what_is_not_written_is_null() {
        let plain = desired(json!({ "preset": "ReadOnly", "region": "us-east-1", "bucket": { "name": "abc" } }));
        assert_eq!((cors(&plain), bucket_policy(&plain)), (Value::Null, Value::Null));
        let tls = desired(
            json!({ "preset": "ReadOnly", "region": "us-east-1", "bucket": { "name": "abc", "tls": { "minimumVersion": "1.2" } } }),
        );
        assert_eq!(bucket_policy(&tls)["Statement"][0]["Effect"], "Deny");
    }

    #[test]
    fn the_secret_is_redacted() {
        let desired =
            desired(json!({ "preset": "ReadOnly", "region": "us-east-1", "bucket": { "name": "abc", "prefix": "runs/" } }));
        let data = secret(&desired, "lab")["stringData"].clone();
        let redacted = ["AWS_SECRET_ACCESS_KEY", "credentials"].map(|field| data[field].clone());
        assert_eq!(redacted, [json!(REDACTED), json!(REDACTED)]);
        assert_eq!((&data["BUCKET"], &data["PREFIX"], &data["region"]), (&json!("abc"), &json!("runs/"), &json!("us-east-1")));
    }
}
