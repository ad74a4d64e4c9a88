// SPDX-License-Identifier: Apache-2.0
#include "net/tls.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

#include "crypto/openssl.h"

namespace kubernel::net {
namespace {

using crypto::openssl_error;

constexpr unsigned char kBothProtocols[] = "\x02h2\x08http/1.1";
constexpr unsigned char kHttp1Only[] = "\x08http/1.1";

// A BIO over a socket. OpenSSL's own uses write(2), which would raise SIGPIPE in a process whose signals are not ours.
int fd_of(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent = ::send(fd_of(bio), data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int bio_read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = ::recv(fd_of(bio), data, static_cast<std::size_t>(size), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  if (got == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(got);
}

long bio_ctrl(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}

int bio_create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

const BIO_METHOD* socket_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kubernel socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_ctrl);
    BIO_meth_set_create(made, bio_create);
    return made;
  }();
  return method;
}

int select_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size,
                    void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kBothProtocols, sizeof kBothProtocols - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// Lets the handshake pass whatever the client's certificate is: a request without a verified certificate is anonymous
// and the authenticators decide. SSL_get_verify_result() keeps the verdict.
int accept_any_client(int, X509_STORE_CTX*) {
  return 1;
}

Result<void> use_identity(SSL_CTX* context, const TlsIdentity& identity) {
  const crypto::BioPtr chain = crypto::read_bio(identity.certificate_chain_pem);
  if (!chain) return Error(Reason::Invalid, "the certificate chain is too large");
  const crypto::X509Ptr leaf(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    return openssl_error(Reason::Invalid, "cannot use the certificate");
  }
  for (;;) {
    crypto::X509Ptr more(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
    if (!more) break;
    if (SSL_CTX_add0_chain_cert(context, more.get()) != 1) {
      return openssl_error(Reason::Invalid, "cannot use the certificate chain");
    }
    static_cast<void>(more.release());
  }
  ERR_clear_error();  // The end of the file is reported as an error.
  KUBERNEL_TRY(const crypto::PkeyPtr key, crypto::parse_private_key(identity.private_key_pem));
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return openssl_error(Reason::Invalid, "the private key does not belong to the certificate");
  }
  return {};
}

// Adds every certificate of `pem` to the trusted ones; `announced`, when given, becomes the list sent to clients.
Result<void> trust(SSL_CTX* context, std::string_view pem, bool announce) {
  const crypto::BioPtr bio = crypto::read_bio(pem);
  int count = 0;
  while (bio) {
    const crypto::X509Ptr ca(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!ca) break;
    ++count;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca.get()) != 1 ||
        (announce && SSL_CTX_add_client_CA(context, ca.get()) != 1)) {
      return openssl_error(Reason::Invalid, "cannot use a CA certificate");
    }
  }
  ERR_clear_error();
  if (count == 0) return Error(Reason::Invalid, "there is no PEM certificate among the CA certificates");
  return {};
}

Result<TlsContext> new_context(const SSL_METHOD* method) {
  TlsContext context(SSL_CTX_new(method), SSL_CTX_free);
  if (!context) return openssl_error(Reason::Internal, "cannot make a TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // No resumption: a ticket would outlive the revocation of what the client once proved, and costs memory.
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  if (SSL_CTX_set_cipher_list(context.get(), "ECDHE+AESGCM:ECDHE+CHACHA20") != 1) {
    return openssl_error(Reason::Internal, "cannot choose ciphers");
  }
  return context;
}

std::string pem_of(X509* certificate) {
  auto text = crypto::certificate_text(certificate);
  return text ? *std::move(text) : std::string();
}

}  // namespace

Result<TlsContext> make_server_context(const ServerTls& tls) {
  KUBERNEL_TRY(TlsContext context, new_context(TLS_server_method()));
  KUBERNEL_CHECK_OK(use_identity(context.get(), tls.identity));
  SSL_CTX_set_alpn_select_cb(context.get(), select_protocol, nullptr);
  if (!tls.client_ca_pem.empty()) {
    KUBERNEL_CHECK_OK(trust(context.get(), tls.client_ca_pem, true));
    if (tls.require_client_certificate) {
      SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    } else {
      SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, accept_any_client);
    }
  }
  return context;
}

Result<TlsContext> make_client_context(const ClientTls* tls, bool http2) {
  KUBERNEL_TRY(TlsContext context, new_context(TLS_client_method()));
  const bool verify = tls == nullptr || tls->verify;
  SSL_CTX_set_verify(context.get(), verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (!verify) {
    // Roots would prove nothing.
  } else if (tls != nullptr && !tls->ca_pem.empty()) {
    KUBERNEL_CHECK_OK(trust(context.get(), tls->ca_pem, false));
  } else if (SSL_CTX_set_default_verify_paths(context.get()) != 1) {
    return openssl_error(Reason::Invalid, "cannot read the system's CA certificates");
  }
  if (tls != nullptr && tls->identity) KUBERNEL_CHECK_OK(use_identity(context.get(), *tls->identity));
  // SSL_CTX_set_alpn_protos() returns 0 for success.
  const int refused = http2 ? SSL_CTX_set_alpn_protos(context.get(), kBothProtocols, sizeof kBothProtocols - 1)
                            : SSL_CTX_set_alpn_protos(context.get(), kHttp1Only, sizeof kHttp1Only - 1);
  if (refused != 0) return openssl_error(Reason::Internal, "cannot offer protocols");
  return context;
}

TlsSession::TlsSession(TlsContext context, int fd, bool server)
    : context_(std::move(context)), ssl_(SSL_new(context_.get())), error_(Reason::Internal, "no error") {
  BIO* bio = BIO_new(socket_method());
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
  SSL_set_bio(ssl_, bio, bio);
  if (server) {
    SSL_set_accept_state(ssl_);
  } else {
    SSL_set_connect_state(ssl_);
  }
}

TlsSession::~TlsSession() {
  SSL_free(ssl_);
}

bool TlsSession::expect_server(const std::string& name) {
  unsigned char raw[16];
  X509_VERIFY_PARAM* rules = SSL_get0_param(ssl_);
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (inet_pton(AF_INET, name.c_str(), raw) == 1 || inet_pton(AF_INET6, name.c_str(), raw) == 1) {
    return X509_VERIFY_PARAM_set1_ip_asc(rules, name.c_str()) == 1;
  }
  return X509_VERIFY_PARAM_set1_host(rules, name.data(), name.size()) == 1 &&
         SSL_set_tlsext_host_name(ssl_, name.c_str()) == 1;
}

IoStatus TlsSession::failed(int result, const char* what) {
  const int code = SSL_get_error(ssl_, result);
  if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE) return IoStatus::Again;
  if (code == SSL_ERROR_ZERO_RETURN) return IoStatus::Eof;
  broken_ = true;
  const unsigned long detail = ERR_peek_error();
  plain_http_ = ERR_GET_LIB(detail) == ERR_LIB_SSL && ERR_GET_REASON(detail) == SSL_R_HTTP_REQUEST;
  const long verdict = SSL_get_verify_result(ssl_);
  if (SSL_get_verify_mode(ssl_) != SSL_VERIFY_NONE && !SSL_is_server(ssl_) && verdict != X509_V_OK) {
    ERR_clear_error();
    error_ = Error(Reason::Unauthorized,
                   std::string("the server's certificate is not valid: ") + X509_verify_cert_error_string(verdict));
  } else if (code == SSL_ERROR_SYSCALL && detail == 0) {
    error_ = errno != 0
                 ? Error(Reason::ServiceUnavailable, std::string(what) + ": " + std::system_category().message(errno))
                 : Error(Reason::ServiceUnavailable, std::string(what) + ": connection closed");
  } else {
    error_ = openssl_error(Reason::ServiceUnavailable, what);
  }
  return IoStatus::Failed;
}

IoStatus TlsSession::handshake() {
  ERR_clear_error();
  errno = 0;
  const int result = SSL_do_handshake(ssl_);
  return result == 1 ? IoStatus::Ok : failed(result, "TLS handshake");
}

IoResult TlsSession::read(char* data, std::size_t size) {
  ERR_clear_error();
  errno = 0;
  std::size_t got = 0;
  if (SSL_read_ex(ssl_, data, size, &got) == 1) return {IoStatus::Ok, got};
  return {failed(0, "TLS read"), 0};
}

IoResult TlsSession::write(const char* data, std::size_t size) {
  ERR_clear_error();
  errno = 0;
  std::size_t sent = 0;
  if (SSL_write_ex(ssl_, data, size, &sent) == 1) return {IoStatus::Ok, sent};
  return {failed(0, "TLS write"), 0};
}

void TlsSession::close() {
  // After a fatal error OpenSSL forbids SSL_shutdown().
  if (broken_ || SSL_in_init(ssl_) == 1) return;
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

std::string_view TlsSession::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::optional<PeerCertificate> TlsSession::verified_peer() const {
  X509* certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr || SSL_get_verify_result(ssl_) != X509_V_OK) return std::nullopt;
  crypto::CertificateInfo info = crypto::describe(certificate);
  return PeerCertificate{std::move(info.common_name), std::move(info.organizations), pem_of(certificate)};
}

}  // namespace kubernel::net
