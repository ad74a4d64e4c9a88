// SPDX-License-Identifier: Apache-2.0
//
// The Common Expression Language (github.com/google/cel-spec) with the macros, optional types and libraries that
// Kubernetes offers: for device selectors, validation rules of custom resources and admission policies.
//
//   Environment environment;
//   environment.declare("device", Type::object("Device", {{"driver", Type::Kind::String}}));
//   KUBERNEL_TRY(const auto expression, Expression::parse("device.driver == 'gpu.example.com'", {}));
//   KUBERNEL_TRY(const auto program, Program::compile(expression, environment));
//   Activation activation;
//   activation.set("device", value);
//   Budget budget(1'000'000);
//   const Result<Value> matches = program.evaluate(activation, budget);
//
// An expression cannot loop for ever: it works on finite lists only, and every step is taken from a budget.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubernel/base/export.h>
#include <kubernel/base/result.h>
#include <kubernel/cel/type.h>
#include <kubernel/cel/value.h>

namespace kubernel::cel {

struct Node;
struct Library;

struct ParseLimits {
  std::size_t max_bytes = 100'000;
  int max_depth = 250;
};

/// A parsed text. Copying one is cheap. Threads: immutable.
class KUBERNEL_EXPORT Expression {
 public:
  /// Errors: Invalid, one line that begins with line and column: "1:7: syntax error: unexpected end of expression".
  static Result<Expression> parse(std::string text, const ParseLimits& limits = {});

  const std::string& text() const noexcept { return *text_; }

 private:
  friend class Program;
  Expression() = default;
  std::shared_ptr<const std::string> text_;
  std::shared_ptr<const Node> root_;
};

/// What a function gets: its arguments, the receiver first.
using Function = std::function<Result<Value>(std::span<const Value> arguments)>;

/// The variables and functions an expression may use. The standard library is always there. Copying one is cheap.
///
/// Threads: immutable while used.
class KUBERNEL_EXPORT Environment {
 public:
  Environment();
  ~Environment();
  Environment(const Environment&);
  Environment& operator=(const Environment&);

  void declare(std::string name, Type type);
  /// Adds an overload: "greet(string, dyn) -> string", "sets.size(list(A)) -> int", with its receiver in parentheses
  /// "(string).reversed() -> string".
  /// Errors: Invalid when the signature cannot be read.
  Result<void> declare_function(std::string_view signature, Function function);
  /// Elements of a list literal, keys and values of a map literal must then have one type each, as in Kubernetes' own
  /// expressions.
  void require_homogeneous_literals() { homogeneous_ = true; }

 private:
  friend class Program;
  std::vector<std::pair<std::string, Type>> variables_;
  std::shared_ptr<const Library> library_;
  bool homogeneous_ = false;
};

/// Values for an environment's variables.
class KUBERNEL_EXPORT Activation {
 public:
  void set(std::string name, Value value);
  /// Null when not set.
  const Value* find(std::string_view name) const noexcept;

 private:
  std::vector<std::pair<std::string, Value>> values_;
};

/// How much work is left; several evaluations may share one. A step costs 1, making a list 10, a map 30, work on a text
/// a tenth of its length (as upstream's estimate of run-time cost).
class Budget {
 public:
  explicit Budget(std::uint64_t cost) noexcept : left_(cost) {}
  std::uint64_t left() const noexcept { return left_; }
  /// False when that is more than is left; then nothing is left.
  bool spend(std::uint64_t cost) noexcept {
    if (cost > left_) {
      left_ = 0;
      return false;
    }
    left_ -= cost;
    return true;
  }

 private:
  std::uint64_t left_;
};

/// An expression bound to an environment. Copying one is cheap. Threads: immutable; evaluate() from any.
class KUBERNEL_EXPORT Program {
 public:
  /// Errors: Invalid, one line with line and column: "1:1: undeclared reference to 'x' (in container '')",
  /// "1:3: found no matching overload for '_+_' applied to '(int, string)'", "1:8: undefined field 'y'".
  static Result<Program> compile(const Expression& expression, const Environment& environment);

  /// What the expression gives, as far as is known before it runs.
  const Type& result_type() const noexcept { return type_; }
  /// The variables it reads.
  const std::vector<std::string>& variables() const noexcept { return variables_; }

  /// Errors: Invalid with CEL's message ("no such key: x", "division by zero", "no such overload"); TooManyRequests
  /// when the budget is spent.
  Result<Value> evaluate(const Activation& activation, Budget& budget) const;

 private:
  Program() = default;
  std::shared_ptr<const Node> root_;
  std::shared_ptr<const Library> library_;
  std::vector<std::string> variables_;
  Type type_;
  std::size_t slots_ = 0;
};

/// Values of the Kubernetes types, for activations. Errors: Invalid.
KUBERNEL_EXPORT Result<Value> make_quantity(std::string_view text);
KUBERNEL_EXPORT Result<Value> make_semver(std::string_view text);
/// RFC 3339. Errors: Invalid.
KUBERNEL_EXPORT Result<Value> make_timestamp(std::string_view text);

}  // namespace kubernel::cel
