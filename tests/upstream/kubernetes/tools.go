// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package kubernetes names the programs of Kubernetes that are built from this module.
package kubernetes

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
