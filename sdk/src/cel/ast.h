// SPDX-License-Identifier: Apache-2.0
//
// The tree of an expression: what the parser makes, the checker completes and the evaluator walks.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <kubernel/cel/expression.h>

namespace kubernel::cel {

enum class Op : std::uint8_t {
  Literal,     // literal
  Name,        // name; resolved to a slot, a variable or a type
  Select,      // [operand], name
  Has,         // [operand], name: the macro
  OptSelect,   // [operand], name: .?
  Index,       // [operand, index]
  OptIndex,    // [operand, index]: [?…]
  Call,        // name, arguments
  MemberCall,  // name, [receiver, arguments…]
  And,
  Or,       // two or more
  Ternary,  // [condition, yes, no]
  Not,
  Negate,
  Add,
  Subtract,
  Multiply,
  Divide,
  Modulo,
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  In,
  List,  // elements; optional[i]: a ? stands before it
  Map,   // key, value, key, value…; optional[i]: of the entry i
  // Macros over [range, body] or, for those that choose, [range, condition, body].
  All,
  Exists,
  ExistsOne,
  MapMacro,
  Filter,
  TransformList,
  TransformMap,
  TransformMapEntry,
  Bind,  // [value, body]
  OptMap,
  OptFlatMap,  // [optional, body]
};

struct Node {
  Op op = Op::Literal;
  bool two_variables = false;
  std::uint32_t offset = 0;  // In the text.
  int depth = 1;
  std::string name;
  std::string variable, second_variable;  // Of a macro.
  Value literal;
  std::vector<std::shared_ptr<const Node>> children;
  std::vector<bool> optional;
  // Set by the checker.
  int slot = -1;                                            // Of a local variable; a macro's first.
  int index = -1;                                           // Of a variable of the environment.
  const std::vector<struct Overload>* overloads = nullptr;  // Of a call.
};

using NodePtr = std::shared_ptr<const Node>;

struct Overload {
  bool member = false;
  std::vector<Type> arguments;
  Type result;
  Function run;  // Empty for operators: the evaluator has them.
};

// "_+_"; empty for what is no operator with a signature.
std::string_view operator_name(Op op) noexcept;

// "line:column: message".
Error error_at(std::string_view text, std::size_t offset, const std::string& message);

}  // namespace kubernel::cel
