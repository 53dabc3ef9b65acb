//! The key that seals statuses: a Secret in the operator's own namespace, created at the first start.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::{Kubernetes, MANAGER, call};
use crate::credentials::Sensitive;
use crate::observed::Seal;
use crate::vocabulary::problem::{Class, Problem, Source};

const NAME: &str = "bucketconnection-seal";
const FIELD: &str = "key";

impl Kubernetes {
    /// Reads the key in `namespace`, and creates one if there is none. Without that namespace the key lives only as
    /// long as the process: after a restart only the ownership tags in AWS decide.
    pub async fn seal(&self, namespace: &str) -> Result<Seal, Problem> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        loop {
            if let Some(secret) = call("get secrets", secrets.get_opt(NAME)).await? {
                let key = secret.data.and_then(|mut data| data.remove(FIELD)).unwrap_or_default();
                if !key.0.is_empty() {
                    return Ok(Seal::new(Sensitive::new(String::from_utf8_lossy(&key.0).into_owned())));
                }
                let text = format!("Secret {namespace}/{NAME} has no field {FIELD}; delete it, and the operator creates another");
                return Err(Problem::at(Source::Kubernetes, Class::Refused, "get secrets", "NoKey", text));
            }
            let key = random_key()?;
            let secret = serde_json::from_value(json!({
                "metadata": { "name": NAME, "labels": { "app.kubernetes.io/managed-by": MANAGER } },
                "data": { FIELD: ByteString(key.reveal().as_bytes().to_vec()) },
            }));
            let secret: Secret = secret
                .map_err(|error| Problem::at(Source::Kubernetes, Class::Refused, "create secrets", "NoKey", error.to_string()))?;
            match call("create secrets", secrets.create(&PostParams::default(), &secret)).await {
                // Another replica was faster.
                Err(problem) if problem.class == Class::Exists => {}
                Err(problem) if problem.class == Class::Missing => {
                    tracing::warn!(
                        namespace,
                        "no such namespace, so statuses are trusted only while this process runs; see --operator-namespace"
                    );
                    return Ok(Seal::new(key));
                }
                Err(problem) => return Err(problem),
                Ok(_) => return Ok(Seal::new(key)),
            }
        }
    }
}

/// 256 random bits from the system, in hex.
fn random_key() -> Result<Sensitive, Problem> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Problem::at(Source::Operator, Class::Unavailable, "create secrets", "NoRandomNumbers", error.to_string())
    })?;
    Ok(Sensitive::new(hex::encode(bytes)))
}
