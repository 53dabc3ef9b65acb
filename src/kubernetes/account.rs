//! `AWSAccount`s, the Secrets that they name, and the labels of namespaces that they select by.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Resource};
use serde_json::json;

use super::{Kubernetes, MANAGER, call, find, named};
use crate::api::{ACCOUNT_FINALIZER, AWSAccount, AWSAccountStatus, SecretReference};
use crate::credentials::{AccountKey, Sensitive};
use crate::desired::tenancy::Labels;
use crate::vocabulary::problem::{Class, Problem, Source, ignore_not_found};

impl Kubernetes {
    fn accounts(&self) -> Api<AWSAccount> {
        Api::all(self.client.clone())
    }

    /// The account `name`, if it exists.
    pub async fn account(&self, name: &str) -> Result<Option<AWSAccount>, Problem> {
        find(&self.accounts(), "awsaccounts", name).await
    }

    /// The access key in the Secret that an account names.
    pub async fn account_key(&self, reference: &SecretReference) -> Result<AccountKey, Problem> {
        named("get secrets", &reference.namespace)?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &reference.namespace);
        let shown = format!("Secret {}/{}", reference.namespace, reference.name);
        let missing = |text: String| Problem::at(Source::Kubernetes, Class::BadKey, "credentials.secretRef", "NoKey", text);
        let secret = find(&secrets, "secrets", &reference.name).await?;
        let secret = secret.ok_or_else(|| missing(format!("{shown} does not exist")))?;
        let text = |bytes: Vec<u8>| Sensitive::new(String::from_utf8_lossy(&bytes).into_owned());
        let data = secret.data.unwrap_or_default().into_iter().map(|(name, value)| (name, text(value.0))).collect();
        AccountKey::in_data(&data).map_err(|why| missing(format!("{shown} contains no usable access key: {why}")))
    }

    /// A namespace: its labels, and the value of the tag that distinguishes it from others of the same name.
    pub async fn namespace(&self, namespace: &str) -> Result<(Labels, String), Problem> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let namespace = call("get namespaces", namespaces.get_metadata(namespace)).await?;
        let id = format!("{}/{}", self.uid, namespace.metadata.uid.unwrap_or_default());
        Ok((namespace.metadata.labels.unwrap_or_default(), id))
    }

    /// Adds the operator's finalizer to the account with this metadata, or removes it.
    pub async fn hold_account(&self, metadata: &ObjectMeta, hold: bool) -> Result<(), Problem> {
        let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|name| name != ACCOUNT_FINALIZER);
        finalizers.extend(hold.then(|| ACCOUNT_FINALIZER.to_owned()));
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": metadata.resource_version } });
        let name = metadata.name.as_deref().unwrap_or_default();
        let (accounts, parameters, patch) = (self.accounts(), PatchParams::default(), Patch::Merge(patch));
        ignore_not_found(call("patch awsaccounts", accounts.patch_metadata(name, &parameters, &patch)).await)
    }

    /// Writes the status of an account.
    pub async fn write_account_status(&self, name: &str, status: &AWSAccountStatus) -> Result<(), Problem> {
        let patch = json!({
            "apiVersion": AWSAccount::api_version(&()),
            "kind": AWSAccount::kind(&()),
            "metadata": { "name": name },
            "status": status,
        });
        let parameters = PatchParams::apply(&format!("{MANAGER}/status")).force();
        let accounts = self.accounts();
        let written = call("patch awsaccounts/status", accounts.patch_status(name, &parameters, &Patch::Apply(patch))).await;
        ignore_not_found(written)
    }
}
