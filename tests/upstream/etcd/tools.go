// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package etcd names the program of etcd that is built from this module, beside our own in load/.
package etcd

import _ "go.etcd.io/etcd/v3/tools/benchmark"
