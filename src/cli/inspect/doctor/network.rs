//! What works from this machine: the endpoints of AWS, and the key of a connection.

use std::collections::BTreeSet;

use aws_config::SdkConfig;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::cluster::Accounts;
use super::{Patient, Seen};
use crate::aws::FromHere;
use crate::credentials::written_key;
use crate::desired::names;
use crate::kubernetes::{find, secret_texts};
use crate::render::diagnosis::{self, Finding, Secrets, clock, key, listing, region, secret};
use crate::sdk::{endpoints as of_calls, reach};
use crate::vocabulary::sign_in::SignIn;

/// The endpoints that the operator uses for `patients`, by sign-in and region; and the clock of AWS.
pub(super) async fn endpoints(environment: &SdkConfig, patients: &[Patient], accounts: &Accounts) -> Vec<Finding> {
    let (mut known, mut findings): (Vec<(SignIn, String)>, Vec<_>) = (Vec::new(), Vec::new());
    for Patient { seen, of } in patients.iter().filter(|patient| !patient.of.region.is_empty()) {
        match accounts.sign_in(&seen.object) {
            Ok(sign_in) if known.contains(&(sign_in.clone(), of.region.clone())) => {}
            Ok(sign_in) => known.push((sign_in, of.region.clone())),
            Err(finding) => findings = vec![finding],
        }
    }
    if known.is_empty() && findings.is_empty() {
        return vec![Finding::not_checked("endpoint", "endpoints of AWS", "no connection that you can read names a region")];
    }
    let mut found = BTreeSet::new();
    for (sign_in, region) in &known {
        found.extend(of_calls(environment, sign_in, region).await);
    }
    let mut by_url: Vec<(String, String)> = Vec::new();
    for (service, url) in found {
        match by_url.iter_mut().find(|(_, known)| *known == url) {
            Some((services, _)) => *services += &format!(", {service}"),
            None => by_url.push((service.to_owned(), url)),
        }
    }
    let answers = join_all(by_url.iter().map(|(_, url)| reach(url))).await;
    for ((service, url), answer) in by_url.iter().zip(&answers) {
        let answer = answer.as_ref().map(|reached| (reached.status, reached.took));
        findings.push(diagnosis::endpoint(service, url, answer));
    }
    if answers.is_empty() {
        return findings;
    }
    let dated = answers.iter().flatten().find(|reached| reached.date.is_some());
    findings.push(match dated {
        Some(reached) => clock("AWS", reached.date, reached.at),
        None => clock("AWS", None, Timestamp::now()),
    });
    findings
}

/// The region, the Secret and the key of a connection.
pub(super) async fn connection(
    client: &Client,
    Patient { seen, of }: &Patient,
    environment: Option<&SdkConfig>,
    accounts: &Accounts,
) -> Vec<Finding> {
    let object = &seen.object;
    let name = of.key.as_ref().and_then(|key| key.secret_name.clone()).unwrap_or_else(|| names::secret(object));
    let of_key = format!("key of {}", of.title());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &of.namespace);
    let found = match find(&secrets, "secrets", &name).await {
        Ok(found) => found.map(|secret| secret_texts(secret.data)),
        Err(problem) => {
            let needs = format!("get secrets in {}", of.namespace);
            let about = format!("Secret {}/{name}", of.namespace);
            return vec![
                region(of, None),
                Finding::unread("secret", about, &needs, &problem),
                Finding::unread("key", of_key, &needs, &problem),
            ];
        }
    };
    let Some(data) = found else { return vec![region(of, None), secret(object, of, &name, &Secrets::Absent)] };
    let of_secret = secret(object, of, &name, &Secrets::Data(&data));
    let Ok(pair) = written_key(&data) else { return vec![region(of, None), of_secret] };
    let here = match from_here(environment, accounts, seen, of_key).await {
        Ok(here) => here,
        Err(unchecked) => return vec![region(of, None), of_secret, unchecked],
    };
    let owner = here.owner(&pair, &of.region).await;
    let status = object.status.as_ref();
    let user = status.and_then(|status| status.memory.user.as_ref()).map(|user| user.arn.as_str());
    let expected = user.or_else(|| of.key.as_ref().and_then(|key| key.identity.as_deref()));
    let mut findings = vec![region(of, Some(&owner)), of_secret, key(of, &pair, expected, &owner)];
    if let (Ok(_), Some(bucket)) = (&owner, &of.bucket) {
        let listed = if of.lists() { Some(here.list(&pair, &of.region, bucket, &of.prefix).await) } else { None };
        findings.push(listing(of, listed.as_ref()));
    }
    findings
}

/// What uses the key of a connection from this machine; or the finding that this is not possible.
async fn from_here(
    environment: Option<&SdkConfig>,
    accounts: &Accounts,
    seen: &Seen,
    of_key: String,
) -> Result<FromHere, Finding> {
    let Some(environment) = environment else {
        return Err(Finding::not_checked("key", of_key, "no call to AWS is possible here"));
    };
    let sign_in = accounts.sign_in(&seen.object).map_err(|unread| Finding { check: "key", about: of_key, ..unread })?;
    Ok(FromHere::new(environment, &sign_in).await)
}
