// Command kstatus reads Kubernetes objects as YAML or JSON, and prints what Flux computes for each: a JSON object a line, with its
// name, its status (Current, InProgress, Failed, Terminating) and a message.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	objects := yaml.NewYAMLOrJSONDecoder(os.Stdin, 4096)
	answers := json.NewEncoder(os.Stdout)
	for {
		object := unstructured.Unstructured{}
		if err := objects.Decode(&object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatalf("not an object: %v", err)
		}
		result, err := status.Compute(&object)
		if err != nil {
			log.Fatalf("%s: %v", object.GetName(), err)
		}
		answer := map[string]string{"name": object.GetName(), "status": result.Status.String(), "message": result.Message}
		if err := answers.Encode(answer); err != nil {
			log.Fatal(err)
		}
	}
}
