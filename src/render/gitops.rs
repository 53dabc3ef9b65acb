//! Who else writes a field of an object, from its `managedFields`: a GitOps tool reverts what a person changes in its fields.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

/// Field managers of GitOps tools, and what to do there instead.
const TOOLS: [(&str, &str); 5] = [
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
    ("argocd-controller", "Argo CD"),
    ("argocd-application-controller", "Argo CD"),
    ("argocd-server", "Argo CD"),
];

/// The field managers that set the field at `path`.
pub fn managers<'a>(entries: &'a [ManagedFieldsEntry], path: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    entries.iter().filter(move |entry| sets(entry, path)).filter_map(|entry| entry.manager.as_deref())
}

/// The GitOps tool among the field managers of the object.
pub fn tool(entries: &[ManagedFieldsEntry]) -> Option<&'static str> {
    let managers: Vec<_> = entries.iter().filter_map(|entry| entry.manager.as_deref()).collect();
    TOOLS.iter().find(|(manager, _)| managers.contains(manager)).map(|(_, tool)| *tool)
}

/// The warning that a GitOps tool sets the field at `path`, and reverts a change of it.
pub fn reverts(entries: &[ManagedFieldsEntry], path: &[&str]) -> Option<String> {
    let (tool, field) = (tool(entries)?, path.join("."));
    let sets = managers(entries, path).any(|manager| TOOLS.iter().any(|(known, _)| *known == manager));
    sets.then(|| format!("{tool} sets {field} from its source, and will revert this change; change it there"))
}

/// The note that a GitOps tool manages the object, but does not set the field at `path`.
pub fn leaves(entries: &[ManagedFieldsEntry], path: &[&str]) -> Option<String> {
    let (tool, field) = (tool(entries).filter(|_| reverts(entries, path).is_none())?, path.join("."));
    Some(format!("{tool} manages the object, but its source does not set {field}: the change stays as long as that is so"))
}

fn sets(entry: &ManagedFieldsEntry, path: &[&str]) -> bool {
    let whole = entry.subresource.as_deref().unwrap_or_default().is_empty();
    let mut fields = entry.fields_v1.as_ref().filter(|_| whole).map(|fields| &fields.0);
    for name in path {
        fields = fields.and_then(|fields| fields.get(format!("f:{name}")));
    }
    fields.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entries(entries: Value) -> Vec<ManagedFieldsEntry> {
        serde_json::from_value(entries).unwrap()
    }

    #[test]
    fn a_tool_reverts_only_what_its_source_sets() {
        let path = ["spec", "suspend"];
        let sets = entries(json!([{ "manager": "argocd-controller", "fieldsV1": { "f:spec": { "f:suspend": {} } } }]));
        assert!(reverts(&sets, &path).unwrap().starts_with("Argo CD sets spec.suspend"));
        let other = entries(json!([
            { "manager": "kustomize-controller", "fieldsV1": { "f:spec": { "f:region": {} } } },
            { "manager": "kubectl-edit", "fieldsV1": { "f:spec": { "f:suspend": {} } } },
        ]));
        assert_eq!(reverts(&other, &path), None);
        assert!(leaves(&other, &path).unwrap().starts_with("Flux manages the object, but"));
        assert_eq!((leaves(&sets, &path), leaves(&other[1..], &path)), (None, None));
        assert_eq!(managers(&other, &path).collect::<Vec<_>>(), ["kubectl-edit"]);
        assert_eq!(reverts(&other[1..], &path), None);
        let status = entries(json!([
            { "manager": "kustomize-controller", "subresource": "status", "fieldsV1": { "f:spec": { "f:suspend": {} } } },
        ]));
        assert_eq!(managers(&status, &path).count(), 0);
    }
}
