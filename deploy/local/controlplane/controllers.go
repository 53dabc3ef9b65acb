package main

import (
	"context"
	"errors"
	"flag"
	"os/signal"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
)

// runControllers runs the two controllers of kube-controller-manager that a connection needs: the garbage collector, which
// deletes what a deleted object owned, and the namespace controller, which empties a deleted namespace. The other controllers
// bring volume and cloud plug-ins, a seventh of all packages to build. The parameters are those of kube-controller-manager.
func runControllers(arguments []string) error {
	flags := flag.NewFlagSet("controllers", flag.ContinueOnError)
	path := flags.String("kubeconfig", "", "kubeconfig `file` of a user who can delete every resource")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *path == "" {
		return errors.New("controllers: set --kubeconfig")
	}
	config, err := clientcmd.BuildConfigFromFlags("", *path)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 400, 3000
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	typed, untyped := informers.NewSharedInformerFactory(client, 12*time.Hour), metadatainformer.NewSharedInformerFactory(objects, 12*time.Hour)
	// Kinds of CustomResourceDefinitions have no typed informer.
	all, started := informerfactory.NewInformerFactory(typed, untyped), make(chan struct{})
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	ignored := garbagecollector.DefaultIgnoredResources()
	collector, err := garbagecollector.NewGarbageCollector(ctx, client, objects, mapper, ignored, all, started)
	if err != nil {
		return err
	}
	namespaces := namespace.NewNamespaceController(ctx, client, objects, client.Discovery().ServerPreferredNamespacedResources,
		typed.Core().V1().Namespaces(), 5*time.Minute, v1.FinalizerKubernetes)
	all.Start(ctx.Done())
	close(started)
	go namespaces.Run(ctx, 10)
	go collector.Sync(ctx, client.Discovery(), 30*time.Second)
	collector.Run(ctx, 20, 30*time.Second)
	return nil
}
