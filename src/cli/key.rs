//! The access key of a connection, as the user of the command can read it in the connection's Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};

use super::Failure;
use crate::api::BucketConnection;
use crate::credentials::{KeyPair, written_key};
use crate::desired::names;
use crate::kubernetes::{find, secret_texts};

/// What a program needs to use a connection.
pub(super) struct Access {
    /// `namespace/name` of the connection.
    pub connection: String,
    /// The current key.
    pub key: KeyPair,
    /// Name of the bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The prefix that the key is limited to; empty for the whole bucket.
    pub prefix: String,
    /// The partition of the account, such as `aws`; empty if it is not known yet.
    pub partition: String,
}

impl Access {
    /// Reads the Secret of `object`, with the permissions of the user of the command.
    pub(super) async fn read(client: &Client, object: &BucketConnection) -> Result<Self, Failure> {
        let namespace = object.namespace().unwrap_or_default();
        let connection = format!("{namespace}/{}", object.name_any());
        let recorded = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
        let recorded = recorded.and_then(|credentials| credentials.secret_name.clone());
        let name = recorded.or_else(|| object.spec.existing_secret().map(str::to_owned)).unwrap_or_else(|| names::secret(object));
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let Some(secret) = find(&secrets, "secrets", &name).await? else {
            let hint = "bucketconnection status shows whether the key was issued";
            return Err(Failure(format!("{connection} has no Secret {name} yet; {hint}")));
        };
        let data = secret_texts(secret.data);
        let key = written_key(&data).map_err(|flaw| Failure(format!("{connection}: Secret {name}: {flaw}")))?;
        let field = |field: &str| data.get(field).map(|value| value.reveal().trim().to_owned());
        // A name with `namePrefix` contains the account; the status and the Secret have it.
        let recorded = object.status.as_ref().and_then(|status| status.memory.bucket.as_ref());
        let recorded = recorded.and_then(|bucket| bucket.arn.rsplit(':').next()).map(str::to_owned);
        let bucket = object.spec.bucket.name.clone().or(recorded).or_else(|| field("BUCKET"));
        let Some(bucket) = bucket.filter(|bucket| !bucket.is_empty()) else {
            return Err(Failure(format!(
                "{connection} has no bucket yet: bucket.namePrefix gets a name when the bucket is created"
            )));
        };
        Ok(Self {
            connection,
            key,
            bucket,
            region: object.spec.region.clone(),
            prefix: object.spec.bucket.prefix.clone().unwrap_or_default(),
            partition: field("partition").unwrap_or_default(),
        })
    }
}
