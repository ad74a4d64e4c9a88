// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package kine names the program that is built from this module.
package kine

import _ "github.com/k3s-io/kine"
