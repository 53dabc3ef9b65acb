//! The object as a person would write it: without fields that have their default.

use kube::{Resource, ResourceExt};
use serde::Serialize;

use crate::api::{
    AccountRef, BucketConnection, BucketSpec, CredentialsSpec, IlluminaICASpec, ManagementSpec, PolicySpec, Preset, UserSpec,
};
use crate::settings::SpecSettings;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: String,
    kind: String,
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(skip_serializing_if = "is_default")]
    account_ref: &'a AccountRef,
    preset: Preset,
    region: &'a str,
    bucket: &'a BucketSpec,
    #[serde(flatten)]
    settings: &'a SpecSettings,
    #[serde(rename = "illuminaICA", skip_serializing_if = "Option::is_none")]
    illumina_ica: Option<&'a IlluminaICASpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a PolicySpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a UserSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<&'a CredentialsSpec>,
    #[serde(skip_serializing_if = "ManagementSpec::is_empty")]
    management: &'a ManagementSpec,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn is_default(account: &&AccountRef) -> bool {
    **account == AccountRef::default()
}

pub(super) fn document(object: &BucketConnection, namespace: Option<&str>) -> Result<String, serde_saphyr::ser::Error> {
    let spec = &object.spec;
    serde_saphyr::to_string(&Document {
        api_version: BucketConnection::api_version(&()).into_owned(),
        kind: BucketConnection::kind(&()).into_owned(),
        metadata: Metadata { name: object.name_any(), namespace },
        spec: Spec {
            account_ref: &spec.account_ref,
            preset: spec.preset,
            region: &spec.region,
            bucket: &spec.bucket,
            settings: &spec.settings,
            illumina_ica: spec.illumina_ica.as_ref(),
            policy: spec.policy.as_ref(),
            user: spec.user.as_ref(),
            credentials: spec.credentials.as_ref(),
            management: &spec.management,
        },
    })
}
