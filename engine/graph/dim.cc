#include "engine/graph/dim.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

int64_t SaturatedSum(int64_t a, int64_t b) {
  int64_t sum;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return a > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
}

int64_t SaturatedProduct(int64_t a, int64_t b) {
  int64_t product;
  if (!__builtin_mul_overflow(a, b, &product)) return product;
  return (a > 0) == (b > 0) ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
}

int64_t FloorQuotient(int64_t x, int64_t divisor) {
  const int64_t quotient = x / divisor;
  return x % divisor < 0 ? quotient - 1 : quotient;
}

}  // namespace

struct Dim::Division {
  Dim numerator;
  int64_t divisor;
};

Dim::Dim(int64_t value) {
  if (value != 0) terms_[{}] = value;
}

Dim Dim::FromAtom(Atom atom) {
  Dim dim;
  dim.terms_[{std::move(atom)}] = 1;
  return dim;
}

Dim Dim::Symbol(std::string name) { return FromAtom({std::move(name), nullptr}); }

Dim Dim::FloorDiv(const Dim& x, int64_t divisor) {
  if (const auto number = x.constant()) return Dim(FloorQuotient(*number, divisor));
  if (const auto exact = x.ExactQuotient(Dim(divisor))) return *exact;
  return FromAtom({absl::StrCat("floor((", x.ToText(), ")/", divisor, ")"),
                   std::make_shared<const Division>(Division{x, divisor})});
}

Dim operator+(const Dim& a, const Dim& b) {
  Dim sum = a;
  for (const auto& [monomial, coefficient] : b.terms_) {
    int64_t& term = sum.terms_[monomial];
    term = SaturatedSum(term, coefficient);
    if (term == 0) sum.terms_.erase(monomial);
  }
  return sum;
}

Dim operator*(const Dim& a, const Dim& b) {
  Dim product;
  for (const auto& [left, left_coefficient] : a.terms_)
    for (const auto& [right, right_coefficient] : b.terms_) {
      Dim::Monomial monomial;
      std::merge(left.begin(), left.end(), right.begin(), right.end(), std::back_inserter(monomial));
      Dim term;
      term.terms_[std::move(monomial)] = SaturatedProduct(left_coefficient, right_coefficient);
      product = product + term;
    }
  return product;
}

std::optional<int64_t> Dim::constant() const {
  if (terms_.empty()) return 0;
  if (terms_.size() == 1 && terms_.begin()->first.empty()) return terms_.begin()->second;
  return std::nullopt;
}

bool Dim::Mentions(const Dim& symbol) const {
  const Atom& sought = symbol.terms_.begin()->first.front();
  for (const auto& [monomial, coefficient] : terms_)
    for (const Atom& atom : monomial)
      if (atom == sought || (atom.division && atom.division->numerator.Mentions(symbol))) return true;
  return false;
}

std::optional<Dim> Dim::ExactQuotient(const Dim& divisor) const {
  if (divisor.terms_.size() != 1)
    return *this == divisor && !terms_.empty() ? std::optional(Dim(1)) : std::nullopt;
  const auto& [by, by_coefficient] = *divisor.terms_.begin();
  Dim quotient;
  for (const auto& [monomial, coefficient] : terms_) {
    if (coefficient % by_coefficient != 0 ||
        !std::includes(monomial.begin(), monomial.end(), by.begin(), by.end()))
      return std::nullopt;
    Monomial rest;
    std::set_difference(monomial.begin(), monomial.end(), by.begin(), by.end(), std::back_inserter(rest));
    quotient.terms_[std::move(rest)] = coefficient / by_coefficient;
  }
  return quotient;
}

absl::StatusOr<int64_t> Dim::Evaluate(const Bindings& bindings) const {
  int64_t sum = 0;
  for (const auto& [monomial, coefficient] : terms_) {
    int64_t product = coefficient;
    for (const Atom& atom : monomial) {
      int64_t value = 0;
      if (atom.division) {
        ASSIGN_OR_RETURN(const int64_t numerator, atom.division->numerator.Evaluate(bindings));
        value = FloorQuotient(numerator, atom.division->divisor);
      } else {
        const auto found = bindings.find(atom.text);
        if (found == bindings.end())
          return absl::InvalidArgumentError(absl::StrCat("dimension '", ToText(), "': symbol '", atom.text,
                                                         "' has no value, expected one"));
        value = found->second;
      }
      product = SaturatedProduct(product, value);
    }
    sum = SaturatedSum(sum, product);
  }
  return sum;
}

std::string Dim::ToText() const {
  if (terms_.empty()) return "0";
  std::string text;
  // The constant term comes first in the map and last in the text.
  const auto append = [&](const Monomial& monomial, int64_t coefficient) {
    if (!text.empty() && coefficient >= 0) text += '+';
    if (monomial.empty()) {
      absl::StrAppend(&text, coefficient);
      return;
    }
    if (coefficient == -1) text += '-';
    if (coefficient != 1 && coefficient != -1) absl::StrAppend(&text, coefficient, "*");
    absl::StrAppend(&text, absl::StrJoin(monomial, "*",
                                         [](std::string* out, const Atom& atom) { out->append(atom.text); }));
  };
  for (const auto& [monomial, coefficient] : terms_)
    if (!monomial.empty()) append(monomial, coefficient);
  if (const auto constant_term = terms_.find({}); constant_term != terms_.end())
    append(constant_term->first, constant_term->second);
  return text;
}

namespace {

// sum := ['-'] product {('+'|'-') product};  product := factor {'*' factor};
// factor := number | symbol | "floor((" sum ")/" number ")"
class DimParser {
 public:
  explicit DimParser(std::string_view text) : text_(text) {}

  absl::StatusOr<Dim> Parse() {
    ASSIGN_OR_RETURN(Dim dim, Sum());
    if (at_ != text_.size()) return Error();
    return dim;
  }

 private:
  absl::Status Error() const {
    return absl::InvalidArgumentError(absl::StrCat("dimension '", std::string(text_),
                                                   "': unexpected text at offset ", at_,
                                                   ", expected an expression such as 2*N+1"));
  }
  bool Accept(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  absl::StatusOr<Dim> Sum() {
    Dim sum;
    bool negative = Accept("-");
    for (;;) {
      ASSIGN_OR_RETURN(const Dim product, Product());
      sum = negative ? sum - product : sum + product;
      if (Accept("+")) {
        negative = false;
      } else if (Accept("-")) {
        negative = true;
      } else {
        return sum;
      }
    }
  }
  absl::StatusOr<Dim> Product() {
    Dim product(1);
    do {
      ASSIGN_OR_RETURN(const Dim factor, Factor());
      product = product * factor;
    } while (Accept("*"));
    return product;
  }
  absl::StatusOr<Dim> Factor() {
    if (Accept("floor((")) {
      if (++depth_ > 50) return Error();
      ASSIGN_OR_RETURN(const Dim numerator, Sum());
      --depth_;
      if (!Accept(")/")) return Error();
      ASSIGN_OR_RETURN(const Dim divisor, Factor());
      const auto number = divisor.constant();
      if (!number || *number <= 0 || !Accept(")")) return Error();
      return Dim::FloorDiv(numerator, *number);
    }
    const size_t start = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_'))
      ++at_;
    const std::string word(text_.substr(start, at_ - start));
    if (word.empty()) return Error();
    if (!std::isdigit(static_cast<unsigned char>(word[0]))) return Dim::Symbol(word);
    int64_t number = 0;
    if (!absl::SimpleAtoi(word, &number)) return Error();
    return Dim(number);
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

absl::StatusOr<Dim> Dim::Parse(std::string_view text) { return DimParser(text).Parse(); }

absl::StatusOr<Shape> Evaluate(const SymbolicShape& shape, const Bindings& bindings) {
  Shape concrete;
  for (const Dim& dim : shape) {
    ASSIGN_OR_RETURN(const int64_t value, dim.Evaluate(bindings));
    concrete.push_back(value);
  }
  return concrete;
}

std::string ShapeText(const SymbolicShape& shape) {
  return absl::StrCat(
      "[", absl::StrJoin(shape, ",", [](std::string* out, const Dim& dim) { out->append(dim.ToText()); }),
      "]");
}

Dim CountOf(const SymbolicShape& shape) {
  Dim count(1);
  for (const Dim& dim : shape) count = count * dim;
  return count;
}

std::optional<Shape> ConstantShape(const SymbolicShape& shape) {
  Shape concrete;
  for (const Dim& dim : shape) {
    const auto value = dim.constant();
    if (!value) return std::nullopt;
    concrete.push_back(*value);
  }
  return concrete;
}

}  // namespace hachi
