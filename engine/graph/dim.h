#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tensor/shape.h"

namespace hachi {

// Values of the symbols in a graph's shapes, e.g. {"N", 8}.
using Bindings = std::map<std::string, int64_t>;

// A dimension: an integer expression over named symbols, kept as a polynomial in normal form, so that equal
// expressions compare equal. Its atoms are symbols and floor divisions by a positive number. Arithmetic
// saturates.
//
// Expressions are bounded, as files can ask for ones that grow exponentially with their length: beyond
// kMaxTerms or kMaxTextBytes the result is too complex, and stays so whatever is done with it. Nothing is
// known of such a dimension; inference refuses it.
//
// Thread-compatible.
class Dim {
 public:
  static constexpr size_t kMaxTerms = 64;        // of the polynomial
  static constexpr size_t kMaxTextBytes = 4096;  // of all its atoms' texts together
  Dim(int64_t value = 0);                        // NOLINT: a number is a dimension
  static Dim Symbol(std::string name);

  // floor(x / divisor). REQUIRES: divisor > 0.
  static Dim FloorDiv(const Dim& x, int64_t divisor);

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b) { return a + Dim(-1) * b; }
  friend bool operator==(const Dim& a, const Dim& b);

  bool is_too_complex() const { return is_too_complex_; }

  // The number, where no symbol is involved.
  std::optional<int64_t> constant() const;

  // Whether the symbol is somewhere in it. REQUIRES: `symbol` is one.
  bool Mentions(const Dim& symbol) const;

  // q with q * divisor == *this, where one exists for all values of the symbols.
  std::optional<Dim> ExactQuotient(const Dim& divisor) const;

  // INVALID_ARGUMENT when a symbol has no value, RESOURCE_EXHAUSTED when it is too complex.
  absl::StatusOr<int64_t> Evaluate(const Bindings& bindings) const;

  // "N", "2*N+1", "floor((N-1)/2)"; "?" when it is too complex.
  std::string ToText() const;

  // Reads what ToText writes, but for "?".
  static absl::StatusOr<Dim> Parse(std::string_view text);

 private:
  struct Division;
  struct Atom {
    std::string text;                          // identity and order
    std::shared_ptr<const Division> division;  // null: a symbol
    friend bool operator==(const Atom& a, const Atom& b) { return a.text == b.text; }
    friend bool operator<(const Atom& a, const Atom& b) { return a.text < b.text; }
  };
  using Monomial = std::vector<Atom>;         // sorted; empty for the constant term
  using Terms = std::map<Monomial, int64_t>;  // no zero coefficients

  // The polynomial, or too complex.
  static Dim Of(Terms terms);
  static Dim Of(Atom atom) { return Of(Terms{{{std::move(atom)}, 1}}); }
  static Dim TooComplex();

  static void AddTerm(Monomial monomial, int64_t coefficient, Terms& terms);
  Terms terms() const;

  int64_t number_ = 0;                  // where no symbol is involved
  std::shared_ptr<const Terms> terms_;  // else; copies share it
  bool is_too_complex_ = false;         // then it is neither
};

using SymbolicShape = std::vector<Dim>;

absl::StatusOr<Shape> Evaluate(const SymbolicShape& shape, const Bindings& bindings);

// "[N,3,224,224]".
std::string ShapeText(const SymbolicShape& shape);

// The product of all dimensions.
Dim CountOf(const SymbolicShape& shape);

// The dimensions as numbers, or nullopt when one is symbolic.
std::optional<Shape> ConstantShape(const SymbolicShape& shape);

}  // namespace hachi
