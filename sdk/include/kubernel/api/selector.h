// SPDX-License-Identifier: Apache-2.0
//
// Label and field selectors (apimachinery pkg/labels, pkg/fields; metav1.LabelSelector).

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubernel/api/value.h>
#include <kubernel/base/export.h>
#include <kubernel/base/result.h>

namespace kubernel::api {

enum class Operator : std::uint8_t { In, NotIn, Exists, DoesNotExist, Equals, NotEquals, GreaterThan, LessThan };

struct Requirement {
  std::string key;
  Operator op = Operator::Exists;
  std::vector<std::string> values;  ///< Sorted, without duplicates.
};

/// A conjunction of requirements. Threads: immutable after construction.
class KUBERNEL_EXPORT LabelSelector {
 public:
  LabelSelector() = default;  ///< Matches everything.
  static LabelSelector everything() { return {}; }
  static LabelSelector nothing();

  /// The query form: "a=b,c in (d,e),!f,g>1". Errors: BadRequest with upstream's message.
  static Result<LabelSelector> parse(std::string_view text);
  /// metav1.LabelSelector. Missing or null matches nothing, {} matches everything, as upstream.
  /// Errors: Invalid for an unknown operator or values that do not fit it.
  static Result<LabelSelector> from_api(Value selector);
  /// A plain map (Service.spec.selector, ReplicationController.spec.selector).
  static LabelSelector from_map(Value map);

  /// `labels`: an object of strings; missing reads as no labels.
  bool matches(Value labels) const;
  bool matches_everything() const noexcept { return !nothing_ && requirements_.empty(); }
  const std::vector<Requirement>& requirements() const noexcept { return requirements_; }
  /// Upstream's canonical text.
  std::string to_string() const;

 private:
  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

/// "metadata.name=x,status.phase!=Running": equality and inequality only.
class KUBERNEL_EXPORT FieldSelector {
 public:
  struct Term {
    std::string field;
    bool equal = true;
    std::string value;
  };

  FieldSelector() = default;  ///< Matches everything.
  /// Errors: BadRequest.
  static Result<FieldSelector> parse(std::string_view text);
  bool matches(const std::function<std::string(std::string_view field)>& field_value) const;
  const std::vector<Term>& terms() const noexcept { return terms_; }
  /// The value the selector requires `field` to equal, if it does.
  std::optional<std::string> exact(std::string_view field) const;

 private:
  std::vector<Term> terms_;
};

}  // namespace kubernel::api
