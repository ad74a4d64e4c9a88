// SPDX-License-Identifier: Apache-2.0

#include <kubernel/cel/type.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace kubernel::cel {

struct Type::Detail {
  std::string name;
  std::vector<Type> parameters;
  Fields fields;
};

namespace {

struct Named {
  std::string_view name;
  Type::Kind kind;
};
constexpr std::array<Named, 14> kNamed = {{{"dyn", Type::Kind::Dyn},
                                           {"null_type", Type::Kind::Null},
                                           {"bool", Type::Kind::Bool},
                                           {"int", Type::Kind::Int},
                                           {"uint", Type::Kind::Uint},
                                           {"double", Type::Kind::Double},
                                           {"string", Type::Kind::String},
                                           {"bytes", Type::Kind::Bytes},
                                           {"timestamp", Type::Kind::Timestamp},
                                           {"duration", Type::Kind::Duration},
                                           {"type", Type::Kind::Type},
                                           {"list", Type::Kind::List},
                                           {"map", Type::Kind::Map},
                                           {"optional", Type::Kind::Optional}}};

void skip_spaces(std::string_view& text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
}

bool take(std::string_view& text, char wanted) {
  skip_spaces(text);
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

std::string take_name(std::string_view& text) {
  skip_spaces(text);
  std::size_t end = 0;
  while (end < text.size() &&
         (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_' || text[end] == '.'))
    ++end;
  std::string out(text.substr(0, end));
  text.remove_prefix(end);
  return out;
}

Result<Type> take_type(std::string_view& text) {
  const std::string name = take_name(text);
  if (name.empty()) return Error(Reason::Invalid, "a type is missing before \"" + std::string(text) + "\"");
  std::vector<Type> parameters;
  if (take(text, '(')) {
    do {
      KUBERNEL_TRY(Type parameter, take_type(text));
      parameters.push_back(std::move(parameter));
    } while (take(text, ','));
    if (!take(text, ')')) return Error(Reason::Invalid, "a ) is missing before \"" + std::string(text) + "\"");
  }
  parameters.resize(std::max<std::size_t>(parameters.size(), 2));
  const auto known = std::ranges::find(kNamed, name, &Named::name);
  if (known == kNamed.end()) {
    return name.size() == 1 && std::isupper(static_cast<unsigned char>(name[0])) != 0 ? Type::parameter(name)
                                                                                      : Type::opaque(name);
  }
  switch (known->kind) {
    case Type::Kind::List: return Type::list(parameters[0]);
    case Type::Kind::Map: return Type::map(parameters[0], parameters[1]);
    case Type::Kind::Optional: return Type::optional(parameters[0]);
    default: return Type(known->kind);
  }
}

}  // namespace

Type Type::list(Type element) {
  Type out(Kind::List);
  out.detail_ = std::make_shared<const Detail>(Detail{{}, {std::move(element)}, {}});
  return out;
}

Type Type::map(Type key, Type value) {
  Type out(Kind::Map);
  out.detail_ = std::make_shared<const Detail>(Detail{{}, {std::move(key), std::move(value)}, {}});
  return out;
}

Type Type::optional(Type held) {
  Type out(Kind::Optional);
  out.detail_ = std::make_shared<const Detail>(Detail{{}, {std::move(held)}, {}});
  return out;
}

Type Type::object(std::string name, Fields fields) {
  Type out(Kind::Object);
  out.detail_ = std::make_shared<const Detail>(Detail{std::move(name), {}, std::move(fields)});
  return out;
}

Type Type::opaque(std::string name) {
  Type out(Kind::Opaque);
  out.detail_ = std::make_shared<const Detail>(Detail{std::move(name), {}, {}});
  return out;
}

Type Type::parameter(std::string name) {
  Type out(Kind::Parameter);
  out.detail_ = std::make_shared<const Detail>(Detail{std::move(name), {}, {}});
  return out;
}

Result<Type> Type::parse(std::string_view text) {
  std::string_view rest = text;
  auto out = take_type(rest);
  skip_spaces(rest);
  if (out && !rest.empty())
    return Error(Reason::Invalid, "type \"" + std::string(text) + "\": \"" + std::string(rest) + "\" is too much");
  return out;
}

const std::string& Type::name() const noexcept {
  static const std::string kEmpty;
  return detail_ ? detail_->name : kEmpty;
}

Type Type::element(std::size_t index) const {
  return detail_ && index < detail_->parameters.size() ? detail_->parameters[index] : Type();
}

const Type* Type::field(std::string_view name) const noexcept {
  if (!detail_) return nullptr;
  const auto found = std::ranges::find(detail_->fields, name, &Fields::value_type::first);
  return found == detail_->fields.end() ? nullptr : &found->second;
}

std::string Type::to_string() const {
  if (kind_ == Kind::Object || kind_ == Kind::Opaque || kind_ == Kind::Parameter) return name();
  const std::string base(std::ranges::find(kNamed, kind_, &Named::kind)->name);
  if (kind_ == Kind::List) return "list(" + element().to_string() + ")";
  if (kind_ == Kind::Optional) return "optional_type(" + element().to_string() + ")";
  if (kind_ == Kind::Map) return "map(" + element(0).to_string() + ", " + element(1).to_string() + ")";
  if (kind_ == Kind::Timestamp) return "google.protobuf.Timestamp";
  if (kind_ == Kind::Duration) return "google.protobuf.Duration";
  return base;
}

bool operator==(const Type& a, const Type& b) {
  if (a.kind_ != b.kind_ || a.name() != b.name()) return false;
  return a.element(0).kind() == b.element(0).kind() &&
         (!a.detail_ || a.detail_ == b.detail_ || a.to_string() == b.to_string());
}

}  // namespace kubernel::cel
