// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>

#include <array>
#include <ctime>
#include <utility>

#include "crypto/openssl.h"

namespace kubernel::crypto {
namespace {

bool set_time(ASN1_TIME* field, Clock::WallTime time) {
  return ASN1_TIME_set(field, std::chrono::system_clock::to_time_t(time)) != nullptr;
}

Clock::WallTime read_time(const ASN1_TIME* field) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(field, &parts) != 1) return {};
  return std::chrono::system_clock::from_time_t(timegm(&parts));
}

Result<void> set_serial(X509* certificate) {
  const BignumPtr number(BN_new());
  // RFC 5280 4.1.2.2: positive, at most 20 octets; 159 bits keep the sign bit clear.
  if (!number || BN_rand(number.get(), 159, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return openssl_error(Reason::Internal, "cannot make a serial number");
  }
  return {};
}

bool add_name(X509_NAME* name, int nid, std::string_view value) {
  // The explicit string type skips OpenSSL's 64-character limit: "system:node:" and a node's name may be longer, and
  // Kubernetes clients accept that.
  return X509_NAME_add_entry_by_NID(name, nid, V_ASN1_UTF8STRING, reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

Result<void> set_subject(X509* certificate, std::string_view common_name,
                         const std::vector<std::string>& organizations) {
  X509_NAME* name = X509_get_subject_name(certificate);
  for (const std::string& organization : organizations) {
    if (organization.empty() || organization.find('\0') != std::string::npos) {
      return Error(Reason::Invalid, "an organization in a certificate's subject must be text and not empty");
    }
    if (!add_name(name, NID_organizationName, organization)) {
      return openssl_error(Reason::Invalid, "cannot use the organization \"" + organization + "\"");
    }
  }
  if (common_name.empty() || common_name.find('\0') != std::string_view::npos) {
    return Error(Reason::Invalid, "the common name of a certificate must be text and not empty");
  }
  if (!add_name(name, NID_commonName, common_name)) {
    return openssl_error(Reason::Invalid, "cannot use the common name \"" + std::string(common_name) + "\"");
  }
  return {};
}

Result<void> add_extension(X509* certificate, int nid, const char* value, X509* issuer) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return openssl_error(Reason::Internal, std::string("cannot add the extension ") + OBJ_nid2sn(nid));
  }
  return {};
}

using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;

bool push_name(GENERAL_NAMES* names, int type, const void* data, std::size_t size) {
  using StringPtr = std::unique_ptr<ASN1_STRING, Free<ASN1_STRING_free>>;
  using NamePtr = std::unique_ptr<GENERAL_NAME, Free<GENERAL_NAME_free>>;
  StringPtr text(ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING));
  NamePtr name(GENERAL_NAME_new());
  if (!text || !name || ASN1_STRING_set(text.get(), data, static_cast<int>(size)) != 1) return false;
  GENERAL_NAME_set0_value(name.get(), type, text.release());
  if (sk_GENERAL_NAME_push(names, name.get()) == 0) return false;
  static_cast<void>(name.release());
  return true;
}

bool usable_dns_name(std::string_view name) {
  if (name.empty() || name.size() > 253) return false;
  for (const char c : name) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                         c == '.' || c == '_' || c == '*';
    if (!allowed) return false;
  }
  return true;
}

Result<void> add_alternative_names(X509* certificate, const CertificateRequest& request) {
  if (request.dns_names.empty() && request.ip_addresses.empty()) return {};
  const GeneralNamesPtr names(GENERAL_NAMES_new());
  if (!names) return openssl_error(Reason::Internal, "cannot make the subject alternative names");
  for (const std::string& dns : request.dns_names) {
    if (!usable_dns_name(dns)) return Error(Reason::Invalid, "\"" + dns + "\" is not a DNS name");
    if (!push_name(names.get(), GEN_DNS, dns.data(), dns.size())) {
      return openssl_error(Reason::Internal, "cannot add the name " + dns);
    }
  }
  for (const std::string& ip : request.ip_addresses) {
    std::array<unsigned char, 16> raw{};
    std::size_t size = 0;
    if (inet_pton(AF_INET, ip.c_str(), raw.data()) == 1) {
      size = 4;
    } else if (inet_pton(AF_INET6, ip.c_str(), raw.data()) == 1) {
      size = 16;
    } else {
      return Error(Reason::Invalid, "\"" + ip + "\" is not an IP address");
    }
    if (!push_name(names.get(), GEN_IPADD, raw.data(), size)) {
      return openssl_error(Reason::Internal, "cannot add the address " + ip);
    }
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_APPEND) != 1) {
    return openssl_error(Reason::Internal, "cannot add the subject alternative names");
  }
  return {};
}

Result<X509Ptr> new_certificate(EVP_PKEY* key, Clock::WallTime not_before, Clock::WallTime not_after) {
  if (not_after <= not_before) return Error(Reason::Invalid, "a certificate must end after it begins");
  X509Ptr certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_pubkey(certificate.get(), key) != 1 || !set_time(X509_getm_notBefore(certificate.get()), not_before) ||
      !set_time(X509_getm_notAfter(certificate.get()), not_after)) {
    return openssl_error(Reason::Internal, "cannot make a certificate");
  }
  KUBERNEL_CHECK_OK(set_serial(certificate.get()));
  return certificate;
}

Result<void> sign(X509* certificate, EVP_PKEY* key) {
  if (X509_sign(certificate, key, EVP_sha256()) == 0) {
    return openssl_error(Reason::Internal, "cannot sign a certificate");
  }
  return {};
}

Result<KeyPair> self_signed_ca(EVP_PKEY* key, std::string_view common_name, Clock::WallTime not_before,
                               Clock::WallTime not_after) {
  KUBERNEL_TRY(const X509Ptr certificate, new_certificate(key, not_before, not_after));
  KUBERNEL_CHECK_OK(set_subject(certificate.get(), common_name, {}));
  if (X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get())) != 1) {
    return openssl_error(Reason::Internal, "cannot set the issuer");
  }
  KUBERNEL_CHECK_OK(add_extension(certificate.get(), NID_basic_constraints, "critical,CA:TRUE", certificate.get()));
  KUBERNEL_CHECK_OK(add_extension(certificate.get(), NID_key_usage,
                                  "critical,digitalSignature,keyEncipherment,keyCertSign", certificate.get()));
  KUBERNEL_CHECK_OK(add_extension(certificate.get(), NID_subject_key_identifier, "hash", certificate.get()));
  KUBERNEL_CHECK_OK(sign(certificate.get(), key));
  KeyPair pair;
  KUBERNEL_TRY(pair.certificate_pem, certificate_text(certificate.get()));
  KUBERNEL_TRY(pair.private_key_pem, private_key_text(key));
  return pair;
}

const char* extended_usage(const CertificateRequest& request) {
  if (request.server && request.client) return "serverAuth,clientAuth";
  if (request.server) return "serverAuth";
  return request.client ? "clientAuth" : nullptr;
}

Result<void> add_leaf_extensions(X509* certificate, X509* issuer, const CertificateRequest& request) {
  KUBERNEL_CHECK_OK(add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE", issuer));
  KUBERNEL_CHECK_OK(add_extension(certificate, NID_key_usage, "critical,digitalSignature,keyEncipherment", issuer));
  if (const char* usage = extended_usage(request); usage != nullptr) {
    KUBERNEL_CHECK_OK(add_extension(certificate, NID_ext_key_usage, usage, issuer));
  }
  KUBERNEL_CHECK_OK(add_extension(certificate, NID_subject_key_identifier, "hash", issuer));
  KUBERNEL_CHECK_OK(add_extension(certificate, NID_authority_key_identifier, "keyid:always", issuer));
  return add_alternative_names(certificate, request);
}

std::string text_of(const ASN1_STRING* field) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, field);
  if (size < 0) {
    ERR_clear_error();
    return {};
  }
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

std::string ip_text(const ASN1_OCTET_STRING* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(address) != 16) return {};
  const char* done = inet_ntop(family, ASN1_STRING_get0_data(address), text.data(), text.size());
  return done == nullptr ? std::string() : std::string(done);
}

void read_subject(X509* certificate, CertificateInfo& info) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    const int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (nid == NID_organizationName) info.organizations.push_back(text_of(X509_NAME_ENTRY_get_data(entry)));
    // As Go: of several common names the last one counts.
    if (nid == NID_commonName) info.common_name = text_of(X509_NAME_ENTRY_get_data(entry));
  }
}

void read_alternative_names(X509* certificate, CertificateInfo& info) {
  const GeneralNamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  if (!names) return;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) info.dns_names.push_back(text_of(name->d.dNSName));
    if (name->type == GEN_IPADD) info.ip_addresses.push_back(ip_text(name->d.iPAddress));
  }
}

}  // namespace

CertificateInfo describe(X509* certificate) {
  CertificateInfo info;
  read_subject(certificate, info);
  read_alternative_names(certificate, info);
  info.not_before = read_time(X509_get0_notBefore(certificate));
  info.not_after = read_time(X509_get0_notAfter(certificate));
  return info;
}

Result<KeyPair> make_ca(std::string_view common_name, Clock::WallTime not_before, Clock::WallTime not_after) {
  KUBERNEL_TRY(const PkeyPtr key, generate_key());
  return self_signed_ca(key.get(), common_name, not_before, not_after);
}

Result<KeyPair> make_ca_with_key(std::string_view private_key_pem, std::string_view common_name,
                                 Clock::WallTime not_before, Clock::WallTime not_after) {
  KUBERNEL_TRY(const PkeyPtr key, parse_private_key(private_key_pem));
  return self_signed_ca(key.get(), common_name, not_before, not_after);
}

Result<KeyPair> issue(const KeyPair& ca, const CertificateRequest& request) {
  KUBERNEL_TRY(const X509Ptr issuer, parse_certificate(ca.certificate_pem));
  KUBERNEL_TRY(const PkeyPtr issuer_key, parse_private_key(ca.private_key_pem));
  if (X509_check_private_key(issuer.get(), issuer_key.get()) != 1) {
    return openssl_error(Reason::Invalid, "the CA's private key does not belong to its certificate");
  }
  KUBERNEL_TRY(const PkeyPtr key, generate_key());
  KUBERNEL_TRY(const X509Ptr certificate, new_certificate(key.get(), request.not_before, request.not_after));
  KUBERNEL_CHECK_OK(set_subject(certificate.get(), request.common_name, request.organizations));
  if (X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get())) != 1) {
    return openssl_error(Reason::Internal, "cannot set the issuer");
  }
  KUBERNEL_CHECK_OK(add_leaf_extensions(certificate.get(), issuer.get(), request));
  KUBERNEL_CHECK_OK(sign(certificate.get(), issuer_key.get()));
  KeyPair pair;
  KUBERNEL_TRY(pair.certificate_pem, certificate_text(certificate.get()));
  KUBERNEL_TRY(pair.private_key_pem, private_key_text(key.get()));
  return pair;
}

Result<CertificateInfo> read_certificate(std::string_view pem) {
  KUBERNEL_TRY(const X509Ptr certificate, parse_certificate(pem));
  return describe(certificate.get());
}

}  // namespace kubernel::crypto
