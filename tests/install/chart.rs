//! The Helm chart: what it refuses, and what the API server says to what it prints.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::stack::{ROOT, Stack};
use crate::support::tools::tool;

pub const NAMESPACE: &str = "bucketconnection-system";
pub const CHART: &str = "deploy/chart";

/// Runs helm without the caller's environment; `kubeconfig` is that of the administrator.
pub fn helm(kubeconfig: &str, home: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(tool("helm"))
        .args(arguments)
        .current_dir(ROOT)
        .env_clear()
        .env("HOME", home)
        .env("KUBECONFIG", kubeconfig)
        .output()
        .unwrap()
}

/// Standard output of a command that must succeed.
pub fn succeeded(output: Output) -> String {
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{stderr}\n{stdout}");
    stdout
}

/// Standard error of a command that must fail.
fn refused(output: Output) -> String {
    assert!(!output.status.success(), "not refused: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

fn rendered(values: &[&str]) -> Output {
    let arguments = ["template", "bucketconnection", CHART, "--namespace", NAMESPACE];
    helm("/nonexistent", std::path::Path::new("/nonexistent"), &[&arguments, values].concat())
}

/// What `helm template` prints.
pub fn template(values: &[&str]) -> String {
    succeeded(rendered(values))
}

/// kubectl as the administrator of the stack.
pub fn kubectl(stack: &Stack, arguments: &[&str], stdin: Option<&str>) -> Output {
    let mut child = Command::new(stack.fact("kubectl"))
        .args(["--kubeconfig", stack.fact("kubeconfig")])
        .args(arguments)
        .env_clear()
        .env("HOME", &stack.directory)
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if let Some(text) = stdin {
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    }
    child.wait_with_output().unwrap()
}

/// Creates a namespace, unless another test did.
pub fn ensure_namespace(stack: &Stack, name: &str) {
    let created = kubectl(stack, &["create", "namespace", name], None);
    if !String::from_utf8_lossy(&created.stderr).contains("(AlreadyExists)") {
        succeeded(created);
    }
}

#[test]
fn lint_finds_nothing() {
    let home = std::path::Path::new("/nonexistent");
    let text = succeeded(helm("/nonexistent", home, &["lint", "--strict", CHART]));
    assert!(text.contains("0 chart(s) failed") && !text.contains("[WARNING]"), "{text}");
}

/// Each wrong value, and what helm says about it.
#[test]
fn wrong_values_are_refused() {
    for (value, message) in [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("image.repo=x", "additional properties 'repo' not allowed"),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("replicas=-1", "at '/replicas': minimum: got -1, want 0"),
        ("image.digest=sha256:abc", "at '/image/digest'"),
        ("image.repository=registry.example/x:1.0", "at '/image/repository'"),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"),
        ("watch.namespaces=lab-a", "at '/watch/namespaces': got string, want array"),
        ("watch.namespaces={lab-*}", "at '/watch/namespaces/0'"),
        ("watch.namespaces={lab-a,lab-a}", "at '/watch/namespaces': items at 0 and 1 are equal"),
        ("log.format=xml", "at '/log/format': value must be one of 'json', 'human'"),
        ("aws.region=Frankfurt", "at '/aws/region'"),
        ("aws.caBundle.configMap=a,aws.caBundle.secret=b", "aws.caBundle: name a configMap or a secret, not both"),
        ("podLabels.app\\.kubernetes\\.io/name=x", "invalid propertyName 'app.kubernetes.io/name'"),
        ("networkPolicy.egressPorts=null", "networkPolicy.egressPorts: name at least one port"),
        ("proxy.httpsProxy=proxy:3128", "at '/proxy/httpsProxy'"),
        ("proxy.httpsProxy=http://user:password@proxy:3128", "at '/proxy/httpsProxy'"),
        ("tracing.endpoint=collector", "at '/tracing/endpoint'"),
        ("serviceMonitor.interval=often", "at '/serviceMonitor/interval'"),
        ("metrics.perObject=maybe", "at '/metrics/perObject': got string, want boolean"),
        ("networkPolicy.egressPorts={70000}", "at '/networkPolicy/egressPorts/0': maximum: got 70,000, want 65,535"),
        ("observeOnly=no-writes", "at '/observeOnly': got string, want boolean"),
        ("extraEnv[0].value=x", "at '/extraEnv/0': missing property 'name'"),
    ] {
        let text = refused(rendered(&["--set", value]));
        assert!(text.contains(message), "{value}: {text}");
    }
}

/// Every value of the chart is in the schema, with a default that fits (the other direction is helm's own check).
#[test]
fn the_schema_has_a_default_for_every_value() {
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{ROOT}/{CHART}/values.schema.json")).unwrap()).unwrap();
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(format!("{ROOT}/{CHART}/values.yaml")).unwrap()).unwrap();
    let mut names: Vec<_> = schema["properties"].as_object().unwrap().keys().filter(|name| *name != "global").collect();
    let mut defaults: Vec<_> = values.as_object().unwrap().keys().collect();
    names.sort();
    defaults.sort();
    assert_eq!(names, defaults);
}

/// What a value changes in what the chart prints.
#[test]
fn values_reach_the_objects() {
    let defaults = template(&[]);
    let variable = |name: &str, value: &str| format!("- name: {name}\n              value: {value}\n");
    for (value, printed) in [
        ("watch.namespaces={lab-a,lab-b}", variable("BUCKETCONNECTION_NAMESPACE", "\"lab-a,lab-b\"")),
        ("clusterId=research-1", variable("BUCKETCONNECTION_CLUSTER_ID", "\"research-1\"")),
        ("log.filter=debug", variable("BUCKETCONNECTION_LOG", "\"debug\"")),
        ("log.format=human", "args: [run, --log-format, human]\n".to_owned()),
        ("metrics.perObject=false", variable("BUCKETCONNECTION_PER_OBJECT_METRICS", "\"false\"")),
        ("tracing.endpoint=http://traces:4318", variable("OTEL_EXPORTER_OTLP_ENDPOINT", "\"http://traces:4318\"")),
        ("tracing.endpoint=http://traces:4318", "- port: 4318\n".to_owned()),
        ("aws.region=eu-central-1", variable("AWS_REGION", "\"eu-central-1\"")),
        ("aws.caBundle.secret=authorities", variable("AWS_CA_BUNDLE", "/etc/bucketconnection/ca/ca.crt")),
        ("aws.caBundle.secret=authorities", "secretName: authorities\n".to_owned()),
        ("proxy.httpsProxy=http://proxy:3128", variable("HTTPS_PROXY", "\"http://proxy:3128\"")),
        ("proxy.httpsProxy=http://proxy:3128", "- port: 3128\n".to_owned()),
        ("proxy.httpsProxy=http://proxy,proxy.noProxy={.lab}", "value: \".lab,$(KUBERNETES_SERVICE_HOST),".to_owned()),
        ("image.tag=edge", "image: bucketconnection:edge\n".to_owned()),
        ("serviceAccount.name=other", "'system:serviceaccount:bucketconnection-system:other'\n".to_owned()),
        ("restart.namespaces={lab-a}", "name: bucketconnection-restart\n  namespace: lab-a\n".to_owned()),
    ] {
        let text = template(&["--set", value]);
        assert!(text.contains(&printed), "{value} does not lead to {printed}");
        assert!(!defaults.contains(&printed), "{printed} is in the defaults");
    }
}

/// The example in docs/install.md.
#[test]
fn the_documented_values_are_accepted() {
    let page = std::fs::read_to_string(format!("{ROOT}/docs/install.md")).unwrap();
    let values = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example of values.yaml");
    let directory = crate::support::stack::scratch("documented-values");
    let file = directory.join("values.yaml");
    std::fs::write(&file, values).unwrap();
    let text = template(&["--values", file.to_str().unwrap()]);
    assert!(text.contains("image: registry.example/bucketconnection@sha256:") && text.contains("kind: PrometheusRule"), "{text}");
}

/// Values that turn on everything.
const EVERYTHING: &str = "
image: {repository: registry.example:5000/lab/bucketconnection, digest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}
imagePullSecrets: [{name: registry}]
serviceAccount: {annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::123456789012:role/bucketconnection'}}
clusterId: research-1
restart: {namespaces: [lab-a]}
priorityClassName: system-cluster-critical
nodeSelector: {kubernetes.io/arch: arm64}
tolerations: [{key: dedicated, operator: Exists}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
topologySpreadConstraints: [{topologyKey: kubernetes.io/hostname, maxSkew: 1, whenUnsatisfiable: DoNotSchedule, labelSelector: {}}]
podLabels: {team: platform}
podAnnotations: {note: x}
aws: {region: eu-central-1, caBundle: {configMap: authorities}}
proxy: {httpsProxy: 'http://proxy.example:3128', noProxy: [.internal]}
log: {filter: 'bucketconnection=debug', format: human}
metrics: {perObject: false}
tracing: {endpoint: 'http://collector.observability:4318'}
serviceMonitor: {enabled: true, interval: 30s, labels: {release: prometheus}}
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboard: {enabled: true}
networkPolicy: {metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}], extraEgress: [{ports: [{port: 8443}]}]}
extraEnv: [{name: AWS_USE_FIPS_ENDPOINT, value: 'true'}]
extraVolumes: [{name: more, emptyDir: {}}]
extraVolumeMounts: [{name: more, mountPath: /more}]
";

/// Values that turn off everything.
const NOTHING: &str = "
replicas: 0
serviceAccount: {create: false, name: other}
rbac: {create: false}
access: {enabled: false}
restart: {enabled: false}
confine: {enabled: false}
crds: {install: false}
podDisruptionBudget: {enabled: false}
networkPolicy: {enabled: false}
resources: {}
";

/// The kinds of the Prometheus operator, with as much schema as the chart uses of them: an unknown field is refused.
fn prometheus_kinds() -> String {
    let text = |_: ()| json!({ "type": "string" });
    let rule = json!({ "type": "object", "properties": {
        "alert": text(()), "record": text(()), "expr": text(()), "for": text(()), "keep_firing_for": text(()),
        "labels": { "type": "object", "additionalProperties": text(()) },
        "annotations": { "type": "object", "additionalProperties": text(()) },
    }, "required": ["expr"] });
    let group = json!({ "type": "object", "required": ["name"], "properties": {
        "name": text(()), "interval": text(()), "rules": { "type": "array", "items": rule },
    } });
    let rules = json!({ "type": "object", "properties": { "groups": { "type": "array", "items": group } } });
    let endpoint = json!({ "type": "object", "properties": {
        "port": text(()), "interval": text(()), "path": text(()), "honorLabels": { "type": "boolean" },
    } });
    let labels = json!({ "type": "object", "additionalProperties": text(()) });
    let monitor = json!({ "type": "object", "required": ["selector", "endpoints"], "properties": {
        "selector": { "type": "object", "properties": { "matchLabels": labels } },
        "endpoints": { "type": "array", "items": endpoint },
    } });
    let kinds = [("ServiceMonitor", "servicemonitors", monitor), ("PrometheusRule", "prometheusrules", rules)];
    let definitions = kinds.map(|(kind, plural, spec)| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.monitoring.coreos.com") },
            "spec": {
                "group": "monitoring.coreos.com",
                "scope": "Namespaced",
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase() },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                    "type": "object", "properties": { "spec": spec },
                } } }],
            },
        })
        .to_string()
    });
    definitions.join("\n---\n")
}

#[test]
fn the_api_server_accepts_what_it_prints() {
    let stack = Stack::cluster();
    for namespace in ["lab-a", "lab-b"] {
        ensure_namespace(stack, namespace);
    }
    succeeded(kubectl(stack, &["apply", "--server-side", "-f", "-"], Some(&prometheus_kinds())));
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "crd/servicemonitors.monitoring.coreos.com"];
    succeeded(kubectl(stack, &[&established[..], &["crd/prometheusrules.monitoring.coreos.com"]].concat(), None));
    let directory = crate::support::stack::scratch("chart-values");
    for (name, values, objects) in [
        ("defaults", "", 17),
        ("namespaces", "watch: {namespaces: [lab-a, lab-b]}\nrestart: {namespaces: [lab-b]}", 23),
        ("observing", "observeOnly: true", 16),
        ("second", "fullnameOverride: second\nwatch: {namespaces: [lab-b]}", 19),
        ("everything", EVERYTHING, 21),
        ("nothing", NOTHING, 3),
    ] {
        let file = directory.join(format!("{name}.yaml"));
        std::fs::write(&file, values).unwrap();
        let text = template(&["--values", file.to_str().unwrap()]);
        let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];
        let answer = succeeded(kubectl(stack, &apply, Some(&text)));
        assert_eq!(answer.lines().count(), objects, "{name}: {answer}");
        assert!(answer.contains("deployment.apps/"), "{name}: {answer}");
    }
}

/// The pods of the Deployment and of `helm test` are created in a namespace that enforces the standard.
#[test]
fn its_pods_meet_the_pod_security_standard_restricted() {
    let stack = Stack::cluster();
    let enforced = kubectl(stack, &["get", "namespace", NAMESPACE, "-o", "jsonpath={.metadata.labels}"], None);
    assert!(succeeded(enforced).contains(r#""pod-security.kubernetes.io/enforce":"restricted""#));
    let text = template(&["--values", "/dev/null"]);
    let objects: Vec<Value> = text.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap()).collect();
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap().clone();
    let pod = |template: &Value, name: &str| json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": NAMESPACE }, "spec": template["spec"] });
    let deployment = of_kind("Deployment");
    let create = ["create", "--dry-run=server", "-f", "-"];
    for pod in [pod(&deployment["spec"]["template"], "operator"), pod(&of_kind("Pod"), "check")] {
        succeeded(kubectl(stack, &create, Some(&pod.to_string())));
        // The standard is enforced: without one of the settings, the pod is refused.
        let mut careless = pod.clone();
        careless["spec"]["containers"][0]["securityContext"]["capabilities"] = json!({});
        let text = refused(kubectl(stack, &create, Some(&careless.to_string())));
        assert!(text.contains("violates PodSecurity \"restricted"), "{text}");
        assert_eq!(pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
    }
}
