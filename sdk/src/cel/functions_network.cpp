// SPDX-License-Identifier: Apache-2.0
//
// Kubernetes' libraries of addresses (ip, cidr) and URLs.

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "functions.h"
#include "text.h"

namespace kubernel::cel {
namespace {

struct Address {
  std::array<unsigned char, 16> bytes{};  // Of IPv4 the first four.
  bool v4 = false;

  int bits() const { return v4 ? 32 : 128; }
  friend bool operator==(const Address&, const Address&) = default;
};

class IpValue final : public Opaque {
 public:
  explicit IpValue(const Address& value) : address(value) {}
  std::string_view type_name() const override { return "net.IP"; }
  bool equals(const Opaque& other) const override { return address == static_cast<const IpValue&>(other).address; }

  const Address address;
};

class CidrValue final : public Opaque {
 public:
  CidrValue(const Address& value, int length) : address(value), prefix(length) {}
  std::string_view type_name() const override { return "net.CIDR"; }
  bool equals(const Opaque& other) const override {
    const auto& cidr = static_cast<const CidrValue&>(other);
    return address == cidr.address && prefix == cidr.prefix;
  }

  const Address address;
  const int prefix;
};

std::string print(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  inet_ntop(address.v4 ? AF_INET : AF_INET6, address.bytes.data(), buffer.data(), buffer.size());
  return buffer.data();
}

Result<Address> parse_address(std::string_view text) {
  const std::string copy(text);
  const bool zero_inside = copy.size() != std::strlen(copy.c_str());
  Address out;
  out.v4 = text.find(':') == std::string_view::npos;
  if (text.find('%') != std::string_view::npos) return problem("IP address with zone value is not allowed");
  if (zero_inside || inet_pton(out.v4 ? AF_INET : AF_INET6, copy.c_str(), out.bytes.data()) != 1) {
    return problem("IP Address " + quote(text) + " parse error during conversion from string");
  }
  static constexpr std::array<unsigned char, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  if (!out.v4 && std::equal(kMapped.begin(), kMapped.end(), out.bytes.begin()))
    return problem("IPv4-mapped IPv6 address is not allowed");
  return out;
}

struct Network {
  Address address;
  int prefix = 0;
};

Result<Network> parse_network(std::string_view text) {
  const Error malformed = problem("network address parse error during conversion from string: " + quote(text));
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return malformed;
  const auto address = parse_address(text.substr(0, slash));
  const std::string_view digits = text.substr(slash + 1);
  int prefix = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  const bool leading_zero = digits.size() > 1 && digits.front() == '0';
  if (!address || error != std::errc() || end != digits.data() + digits.size() || leading_zero || prefix < 0 ||
      prefix > address->bits()) {
    return malformed;
  }
  return Network{*address, prefix};
}

Address masked(Address address, int prefix) {
  for (int i = 0; i < 16; ++i) {
    const int kept = std::clamp(prefix - i * 8, 0, 8);
    address.bytes[static_cast<std::size_t>(i)] &= static_cast<unsigned char>(0xFF00U >> static_cast<unsigned>(kept));
  }
  return address;
}

const Address& address(const Value& value) {
  return static_cast<const IpValue*>(value.as_opaque())->address;
}
const CidrValue& cidr(const Value& value) {
  return *static_cast<const CidrValue*>(value.as_opaque());
}
Value wrap(const Address& value) {
  return Value::opaque(std::make_shared<const IpValue>(value));
}

Result<Value> ip(Args args) {
  KUBERNEL_TRY(const Address parsed, parse_address(args[0].as_string()));
  return wrap(parsed);
}

Result<Value> is_ip(Args args) {
  return Value::boolean(parse_address(args[0].as_string()).has_value());
}

Result<Value> is_canonical(Args args) {
  KUBERNEL_TRY(const Address parsed, parse_address(args[0].as_string()));
  return Value::boolean(print(parsed) == args[0].as_string());
}

Result<Value> ip_text(Args args) {
  return Value::string(print(address(args[0])));
}

Result<Value> family(Args args) {
  return Value::integer(address(args[0]).v4 ? 4 : 6);
}

bool unspecified(const Address& a) {
  return a.bytes == Address{}.bytes;
}
bool loopback(const Address& a) {
  Address one;
  one.bytes[15] = 1;
  return a.v4 ? a.bytes[0] == 127 : a.bytes == one.bytes;
}
bool link_local_multicast(const Address& a) {
  return a.v4 ? a.bytes[0] == 224 && a.bytes[1] == 0 && a.bytes[2] == 0
              : a.bytes[0] == 0xFF && (a.bytes[1] & 0x0F) == 2;
}
bool link_local_unicast(const Address& a) {
  return a.v4 ? a.bytes[0] == 169 && a.bytes[1] == 254 : a.bytes[0] == 0xFE && (a.bytes[1] & 0xC0) == 0x80;
}
bool multicast(const Address& a) {
  return a.v4 ? (a.bytes[0] & 0xF0) == 0xE0 : a.bytes[0] == 0xFF;
}
// As Go's net/netip: also private addresses; only those of special use are not.
bool global_unicast(const Address& a) {
  const bool broadcast =
      a.v4 && std::all_of(a.bytes.begin(), a.bytes.begin() + 4, [](unsigned char b) { return b == 255; });
  return !broadcast && !unspecified(a) && !loopback(a) && !multicast(a) && !link_local_unicast(a);
}

template <bool (*Test)(const Address&)>
Result<Value> is(Args args) {
  return Value::boolean(Test(address(args[0])));
}

Result<Value> make_cidr(Args args) {
  KUBERNEL_TRY(const Network parsed, parse_network(args[0].as_string()));
  return Value::opaque(std::make_shared<const CidrValue>(parsed.address, parsed.prefix));
}

Result<Value> is_cidr(Args args) {
  return Value::boolean(parse_network(args[0].as_string()).has_value());
}

bool holds(const CidrValue& network, const Address& one) {
  return network.address.v4 == one.v4 && masked(one, network.prefix) == masked(network.address, network.prefix);
}

Result<Value> contains_ip(Args args) {
  if (args[1].is(Value::Kind::Opaque)) return Value::boolean(holds(cidr(args[0]), address(args[1])));
  KUBERNEL_TRY(const Address parsed, parse_address(args[1].as_string()));
  return Value::boolean(holds(cidr(args[0]), parsed));
}

Result<Value> contains_cidr(Args args) {
  if (args[1].is(Value::Kind::Opaque)) {
    return Value::boolean(cidr(args[1]).prefix >= cidr(args[0]).prefix && holds(cidr(args[0]), cidr(args[1]).address));
  }
  KUBERNEL_TRY(const Network parsed, parse_network(args[1].as_string()));
  return Value::boolean(parsed.prefix >= cidr(args[0]).prefix && holds(cidr(args[0]), parsed.address));
}

Result<Value> cidr_ip(Args args) {
  return wrap(cidr(args[0]).address);
}

Result<Value> cidr_masked(Args args) {
  const CidrValue& network = cidr(args[0]);
  return Value::opaque(std::make_shared<const CidrValue>(masked(network.address, network.prefix), network.prefix));
}

Result<Value> prefix_length(Args args) {
  return Value::integer(cidr(args[0]).prefix);
}

Result<Value> cidr_text(Args args) {
  return Value::string(print(cidr(args[0]).address) + "/" + std::to_string(cidr(args[0]).prefix));
}

constexpr FunctionRow kRows[] = {
    {"ip(string) -> net.IP", ip},
    {"isIP(string) -> bool", is_ip},
    {"ip.isCanonical(string) -> bool", is_canonical},
    {"string(net.IP) -> string", ip_text},
    {"(net.IP).family() -> int", family},
    {"(net.IP).isUnspecified() -> bool", is<unspecified>},
    {"(net.IP).isLoopback() -> bool", is<loopback>},
    {"(net.IP).isLinkLocalMulticast() -> bool", is<link_local_multicast>},
    {"(net.IP).isLinkLocalUnicast() -> bool", is<link_local_unicast>},
    {"(net.IP).isGlobalUnicast() -> bool", is<global_unicast>},
    {"cidr(string) -> net.CIDR", make_cidr},
    {"isCIDR(string) -> bool", is_cidr},
    {"(net.CIDR).containsIP(string) -> bool", contains_ip},
    {"(net.CIDR).containsIP(net.IP) -> bool", contains_ip},
    {"(net.CIDR).containsCIDR(string) -> bool", contains_cidr},
    {"(net.CIDR).containsCIDR(net.CIDR) -> bool", contains_cidr},
    {"(net.CIDR).ip() -> net.IP", cidr_ip},
    {"(net.CIDR).masked() -> net.CIDR", cidr_masked},
    {"(net.CIDR).prefixLength() -> int", prefix_length},
    {"string(net.CIDR) -> string", cidr_text},
};

}  // namespace

std::span<const FunctionRow> network_functions() {
  return kRows;
}

}  // namespace kubernel::cel
