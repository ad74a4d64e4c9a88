// SPDX-License-Identifier: Apache-2.0
//
// ClusterPki: the certificate authority of one cluster, kept as files with kubeadm's names.
//
// Nobody has to run a certificate command: opening the directory makes what is missing and renews what ends soon. Keys
// are never replaced while they work, so kubeconfigs and service account tokens outlive every renewal.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <kubernel/base/clock.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>
#include <kubernel/crypto/pki.h>

namespace kubernel::crypto {

/// The names a server certificate is valid for.
struct ServerNames {
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
};

/// Copies of the files. A value: reopen the directory to see renewals.
struct ClusterPki {
  KeyPair ca;                  ///< ca.crt, ca.key: CN "kubernetes". Ten years; renewed with the same key.
  KeyPair apiserver;           ///< apiserver.crt, .key: serverAuth.
  KeyPair kubelet_client;      ///< apiserver-kubelet-client.crt, .key: what the API server shows to kubelets; group
                               ///< system:masters.
  KeyPair front_proxy_ca;      ///< front-proxy-ca.crt, .key.
  KeyPair front_proxy_client;  ///< front-proxy-client.crt, .key: what the API server shows to aggregated API servers.
  std::string service_account_key;         ///< sa.key.
  std::string service_account_public_key;  ///< sa.pub.
};

/// Opens the directory, made with mode 0700 when it is missing, and makes what is missing in it (mode 0600, each file
/// in one step). A certificate is reissued when less than a third of its time is left, it is not valid yet, it lacks
/// one of `names`, or it does not belong to its key or CA. Files nobody had to change are not written.
///
/// Threads: any; processes that open the same directory wait for each other.
/// Errors: Internal for the file system (says which file and why); Invalid for a file that is no PEM, a CA certificate
/// whose key is missing, or a name that cannot be in a certificate. Files already written stay, and are used the next
/// time.
[[nodiscard]] KUBERNEL_EXPORT Result<ClusterPki> open_cluster_pki(const std::string& directory,
                                                                  const ServerNames& names, Clock::WallTime now);

/// A client certificate for one year: `user` and `groups` are who the API server sees.
[[nodiscard]] KUBERNEL_EXPORT Result<KeyPair> issue_client(const KeyPair& ca, const std::string& user,
                                                           const std::vector<std::string>& groups, Clock::WallTime now);

/// A kubelet's serving certificate for one year: CN "system:node:<node>", O "system:nodes".
[[nodiscard]] KUBERNEL_EXPORT Result<KeyPair> issue_kubelet_serving(const KeyPair& ca, const std::string& node,
                                                                    const ServerNames& names, Clock::WallTime now);

/// True when it is time to reissue: less than a third of its time is left, or it is not valid yet.
KUBERNEL_EXPORT bool ends_soon(const CertificateInfo& certificate, Clock::WallTime now);

/// A kubeconfig with everything embedded, one cluster, one user, one context "<user>@<cluster>". Holds a private key:
/// write it with write_private_file().
KUBERNEL_EXPORT std::string kubeconfig(std::string_view server_url, std::string_view cluster_name,
                                       std::string_view user, std::string_view ca_pem, const KeyPair& client);

/// Replaces a file in one step, mode 0600; after a crash there is the old one or the new one.
/// Errors: Internal, with the path and the system's reason.
KUBERNEL_EXPORT Result<void> write_private_file(const std::string& path, std::string_view content);

}  // namespace kubernel::crypto
