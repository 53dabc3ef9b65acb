//! Compares an installed CRD with that of this version.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::Finding;

/// Fields that a message names.
const NAMED: usize = 5;
const INSTALL: &str = "Install the CRDs of this version: bucketconnection crds | kubectl apply --server-side -f -";

/// The CRD as installed (`live`; `None`: not installed), compared with `ours`, that of this program in `version`.
pub fn crd(live: Option<&CustomResourceDefinition>, ours: &CustomResourceDefinition, version: &str) -> Finding {
    let about = format!("CRD {}", ours.spec.names.plural);
    let Some(live) = live else { return Finding::wrong("crds", about, "not installed", INSTALL) };
    let Some(ours) = ours.spec.versions.first() else {
        return Finding::not_checked("crds", about, "this program has no version of it");
    };
    let served = live.spec.versions.iter().find(|served| served.name == ours.name && served.served);
    let Some(served) = served else {
        return Finding::wrong("crds", about, format!("the API server does not serve {}", ours.name), INSTALL);
    };
    let (there, here) = (fields(served), fields(ours));
    let missing: Vec<_> = here.difference(&there).collect();
    let unknown: Vec<_> = there.difference(&here).collect();
    match (missing.as_slice(), unknown.as_slice()) {
        ([], []) if served.schema == ours.schema => Finding::ok("crds", about, format!("{} as in version {version}", ours.name)),
        ([], []) => {
            let text =
                format!("the same fields as in version {version}, but other rules or descriptions: it is of another version");
            Finding::note("crds", about, text).and(INSTALL)
        }
        ([], unknown) => {
            let text = format!("newer than this program ({version}): it also has {}", named(unknown));
            Finding::note("crds", about, text).and("Use the program of the operator's version")
        }
        (missing, _) => Finding::wrong(
            "crds",
            about,
            format!("of another version than this program ({version}): it lacks {}", named(missing)),
            INSTALL,
        ),
    }
}

fn named(fields: &[&String]) -> String {
    let names: Vec<_> = fields.iter().take(NAMED).map(|field| field.as_str()).collect();
    let more = fields.len().saturating_sub(NAMED);
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}

/// The paths of all fields of a version.
fn fields(version: &CustomResourceDefinitionVersion) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Some(schema) = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()) {
        collect(schema, "", &mut found);
    }
    found
}

fn collect(schema: &JSONSchemaProps, path: &str, found: &mut BTreeSet<String>) {
    for (name, field) in schema.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(field, &path, found);
        found.insert(path);
    }
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => collect(items, &format!("{path}[]"), found),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter().for_each(|item| collect(item, &format!("{path}[]"), found)),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        collect(values, &format!("{path}[]"), found);
    }
}
