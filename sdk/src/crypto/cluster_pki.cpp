// SPDX-License-Identifier: Apache-2.0
#include <kubernel/crypto/cluster_pki.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <optional>
#include <system_error>

#include <nlohmann/json.hpp>

#include "crypto/openssl.h"

namespace kubernel::crypto {
namespace {

using std::chrono::hours;

constexpr hours kDay{24};
constexpr hours kLeafLife = 365 * kDay;
constexpr hours kCaLife = 3650 * kDay;
// A board without a battery boots in 1970: what is issued then must still be valid once the clock is right.
constexpr Clock::WallTime kReleased{std::chrono::seconds(1'767'225'600)};  // 2026-01-01T00:00:00Z

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Error system_error(const std::string& what, int code) {
  return {Reason::Internal, what + ": " + std::system_category().message(code)};
}

// Absent when there is no such file.
Result<std::optional<std::string>> read_file(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return system_error("cannot read " + path, errno);
  }
  std::string content;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t size = ::read(fd.get(), buffer.data(), buffer.size());
    if (size == 0) return std::optional<std::string>(std::move(content));
    if (size < 0) {
      if (errno == EINTR) continue;
      return system_error("cannot read " + path, errno);
    }
    content.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

Result<void> write_all(int fd, const std::string& path, std::string_view content) {
  while (!content.empty()) {
    const ssize_t size = ::write(fd, content.data(), content.size());
    if (size < 0) {
      if (errno == EINTR) continue;
      return system_error("cannot write " + path, errno);
    }
    content.remove_prefix(static_cast<std::size_t>(size));
  }
  if (::fsync(fd) != 0) return system_error("cannot write " + path, errno);
  return {};
}

Result<void> make_directory(const std::string& directory) {
  for (std::size_t slash = directory.find('/', 1);; slash = directory.find('/', slash + 1)) {
    const std::string part = directory.substr(0, slash);
    const bool last = slash == std::string::npos;
    if (::mkdir(part.c_str(), last ? 0700 : 0755) != 0 && errno != EEXIST) {
      return system_error("cannot make the directory " + part, errno);
    }
    if (last) return {};
  }
}

Clock::WallTime leaf_begin(Clock::WallTime now) {
  return now - hours(1);  // Peers' clocks differ a little.
}

Clock::WallTime leaf_end(Clock::WallTime now) {
  return std::max(now, kReleased) + kLeafLife;
}

bool contains_all(const std::vector<std::string>& have, const std::vector<std::string>& want) {
  return std::ranges::all_of(want,
                             [&](const std::string& name) { return std::ranges::find(have, name) != have.end(); });
}

bool signed_by(const KeyPair& ca, X509* certificate) {
  const auto issuer = parse_certificate(ca.certificate_pem);
  if (!issuer) return false;
  const bool good = X509_verify(certificate, X509_get0_pubkey(issuer->get())) == 1;
  ERR_clear_error();
  return good;
}

bool belong_together(X509* certificate, std::string_view private_key_pem) {
  const auto key = parse_private_key(private_key_pem);
  const bool good = key && X509_check_private_key(certificate, key->get()) == 1;
  ERR_clear_error();
  return good;
}

// Addresses as read_certificate() will print them, so that "::0001" is found again.
std::vector<std::string> canonical(const std::vector<std::string>& addresses) {
  std::vector<std::string> out;
  for (const std::string& address : addresses) {
    const std::unique_ptr<ASN1_OCTET_STRING, Free<ASN1_OCTET_STRING_free>> raw(a2i_IPADDRESS(address.c_str()));
    ERR_clear_error();
    std::array<char, 64> text{};
    const bool four = raw && ASN1_STRING_length(raw.get()) == 4;
    const bool usable =
        raw && inet_ntop(four ? AF_INET : AF_INET6, ASN1_STRING_get0_data(raw.get()), text.data(), text.size());
    out.push_back(usable ? std::string(text.data()) : address);
  }
  return out;
}

class Directory {
 public:
  Directory(std::string path, Clock::WallTime now) : path_(std::move(path)), now_(now) {}

  Result<KeyPair> ca(const std::string& name, const std::string& common_name) {
    const std::string key_path = path_ + "/" + name + ".key";
    const std::string certificate_path = path_ + "/" + name + ".crt";
    KUBERNEL_TRY(const auto key, read_file(key_path));
    KUBERNEL_TRY(const auto certificate, read_file(certificate_path));
    if (certificate && !key) {
      return Error(Reason::Invalid, certificate_path + " is there but " + key_path +
                                        " is missing; restore it, or remove both to make a new CA");
    }
    if (certificate) {
      KUBERNEL_TRY(const bool usable, usable_ca(*certificate, *key, certificate_path, key_path));
      if (usable) return KeyPair{*certificate, *key};
    }
    // A CA's certificate begins at the epoch: it must not depend on the clock having been right when it was made.
    const Clock::WallTime end = std::max(now_, kReleased) + kCaLife;
    KUBERNEL_TRY(KeyPair made, key ? make_ca_with_key(*key, common_name, Clock::WallTime{}, end)
                                   : make_ca(common_name, Clock::WallTime{}, end));
    // The key first: a key without a certificate is completed the next time, the reverse cannot be.
    if (!key) KUBERNEL_CHECK_OK(write_private_file(key_path, made.private_key_pem));
    if (key) made.private_key_pem = *key;
    KUBERNEL_CHECK_OK(write_private_file(certificate_path, made.certificate_pem));
    return made;
  }

  Result<KeyPair> leaf(const std::string& name, const KeyPair& ca, CertificateRequest request) {
    const std::string key_path = path_ + "/" + name + ".key";
    const std::string certificate_path = path_ + "/" + name + ".crt";
    KUBERNEL_TRY(const auto key, read_file(key_path));
    KUBERNEL_TRY(const auto certificate, read_file(certificate_path));
    if (key && certificate && usable_leaf(*certificate, *key, ca, request)) return KeyPair{*certificate, *key};

    request.not_before = leaf_begin(now_);
    request.not_after = leaf_end(now_);
    auto made = issue(ca, request);
    if (!made) return std::move(made).error().wrap("cannot issue " + certificate_path);
    KUBERNEL_CHECK_OK(write_private_file(key_path, made->private_key_pem));
    KUBERNEL_CHECK_OK(write_private_file(certificate_path, made->certificate_pem));
    return made;
  }

  Result<void> service_account(ClusterPki& pki) {
    const std::string key_path = path_ + "/sa.key";
    KUBERNEL_TRY(const auto key, read_file(key_path));
    if (key) {
      pki.service_account_key = *key;
    } else {
      KUBERNEL_TRY(pki.service_account_key, make_private_key());
      KUBERNEL_CHECK_OK(write_private_file(key_path, pki.service_account_key));
    }
    auto derived = public_key(pki.service_account_key);
    if (!derived) return std::move(derived).error().wrap(key_path);
    pki.service_account_public_key = *derived;
    const std::string public_path = path_ + "/sa.pub";
    KUBERNEL_TRY(const auto written, read_file(public_path));
    if (written == pki.service_account_public_key) return {};
    return write_private_file(public_path, pki.service_account_public_key);
  }

 private:
  Result<bool> usable_ca(const std::string& certificate, const std::string& key, const std::string& certificate_path,
                         const std::string& key_path) const {
    auto parsed = parse_certificate(certificate);
    if (!parsed) return std::move(parsed).error().wrap(certificate_path);
    if (!belong_together(parsed->get(), key)) {
      return Error(Reason::Invalid, key_path + " is not the private key of " + certificate_path);
    }
    const CertificateInfo info = describe(parsed->get());
    return info.not_before <= now_ && info.not_after - now_ > kLeafLife;
  }

  bool usable_leaf(const std::string& certificate, const std::string& key, const KeyPair& ca,
                   const CertificateRequest& request) const {
    const auto parsed = parse_certificate(certificate);
    if (!parsed || !belong_together(parsed->get(), key) || !signed_by(ca, parsed->get())) return false;
    const CertificateInfo info = describe(parsed->get());
    return !ends_soon(info, now_) && info.common_name == request.common_name &&
           contains_all(info.organizations, request.organizations) && contains_all(info.dns_names, request.dns_names) &&
           contains_all(info.ip_addresses, canonical(request.ip_addresses));
  }

  std::string path_;
  Clock::WallTime now_;
};

std::string yaml_string(std::string_view text) {
  // A JSON string is a YAML string.
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Result<void> write_private_file(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".new";
  // What an interrupted run left may have another owner's permissions: never write into it.
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT) return system_error("cannot remove " + temporary, errno);
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (fd.get() < 0) return system_error("cannot write " + temporary, errno);
    if (auto written = write_all(fd.get(), temporary, content); !written) {
      ::unlink(temporary.c_str());
      return written;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary.c_str());
    return system_error("cannot write " + path, code);
  }
  const std::size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Fd directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) return system_error("cannot write " + parent, errno);
  return {};
}

bool ends_soon(const CertificateInfo& certificate, Clock::WallTime now) {
  const auto life = certificate.not_after - std::max(certificate.not_before, kReleased);
  return now < certificate.not_before || certificate.not_after - now < life / 3;
}

Result<KeyPair> issue_client(const KeyPair& ca, const std::string& user, const std::vector<std::string>& groups,
                             Clock::WallTime now) {
  return issue(ca, {.common_name = user,
                    .organizations = groups,
                    .client = true,
                    .not_before = leaf_begin(now),
                    .not_after = leaf_end(now)});
}

Result<KeyPair> issue_kubelet_serving(const KeyPair& ca, const std::string& node, const ServerNames& names,
                                      Clock::WallTime now) {
  return issue(ca, {.common_name = "system:node:" + node,
                    .organizations = {"system:nodes"},
                    .dns_names = names.dns_names,
                    .ip_addresses = names.ip_addresses,
                    .server = true,
                    .not_before = leaf_begin(now),
                    .not_after = leaf_end(now)});
}

std::string kubeconfig(std::string_view server_url, std::string_view cluster_name, std::string_view user,
                       std::string_view ca_pem, const KeyPair& client) {
  const std::string context = std::string(user) + "@" + std::string(cluster_name);
  std::string out = "apiVersion: v1\nkind: Config\npreferences: {}\n";
  out += "clusters:\n- name: " + yaml_string(cluster_name) + "\n  cluster:\n    server: " + yaml_string(server_url) +
         "\n    certificate-authority-data: " + base64_encode(ca_pem) + "\n";
  out += "users:\n- name: " + yaml_string(user) +
         "\n  user:\n    client-certificate-data: " + base64_encode(client.certificate_pem) +
         "\n    client-key-data: " + base64_encode(client.private_key_pem) + "\n";
  out += "contexts:\n- name: " + yaml_string(context) + "\n  context:\n    cluster: " + yaml_string(cluster_name) +
         "\n    user: " + yaml_string(user) + "\n";
  out += "current-context: " + yaml_string(context) + "\n";
  return out;
}

Result<ClusterPki> open_cluster_pki(const std::string& directory, const ServerNames& names, Clock::WallTime now) {
  KUBERNEL_CHECK_OK(make_directory(directory));
  const Fd lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.get() < 0) return system_error("cannot open " + directory, errno);
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return system_error("cannot lock " + directory, errno);
  }

  Directory files(directory, now);
  ClusterPki pki;
  KUBERNEL_TRY(pki.ca, files.ca("ca", "kubernetes"));
  KUBERNEL_TRY(pki.front_proxy_ca, files.ca("front-proxy-ca", "front-proxy-ca"));
  KUBERNEL_TRY(pki.apiserver, files.leaf("apiserver", pki.ca,
                                         {.common_name = "kube-apiserver",
                                          .dns_names = names.dns_names,
                                          .ip_addresses = names.ip_addresses,
                                          .server = true}));
  KUBERNEL_TRY(pki.kubelet_client, files.leaf("apiserver-kubelet-client", pki.ca,
                                              {.common_name = "kube-apiserver-kubelet-client",
                                               .organizations = {"system:masters"},
                                               .client = true}));
  KUBERNEL_TRY(pki.front_proxy_client, files.leaf("front-proxy-client", pki.front_proxy_ca,
                                                  {.common_name = "front-proxy-client", .client = true}));
  KUBERNEL_CHECK_OK(files.service_account(pki));
  return pki;
}

}  // namespace kubernel::crypto
