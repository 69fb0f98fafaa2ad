#include "engine/graph/dim.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <limits>
#include <utility>

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

Dim::Dim(int64_t value) : number_(value) {}

Dim Dim::TooComplex() {
  Dim dim;
  dim.is_too_complex_ = true;
  return dim;
}

Dim Dim::Of(Terms terms) {
  if (terms.empty()) return 0;
  if (terms.size() == 1 && terms.begin()->first.empty()) return terms.begin()->second;
  size_t text_bytes = 0;
  for (const auto& [monomial, coefficient] : terms)
    for (const Atom& atom : monomial) text_bytes += atom.text.size();
  if (terms.size() > kMaxTerms || text_bytes > kMaxTextBytes) return TooComplex();
  Dim dim;
  dim.terms_ = std::make_shared<const Terms>(std::move(terms));
  return dim;
}

Dim Dim::Symbol(std::string name) { return Of(Atom{std::move(name), nullptr}); }

Dim::Terms Dim::terms() const {
  if (terms_ != nullptr) return *terms_;
  return number_ == 0 ? Terms() : Terms{{Monomial(), number_}};
}

void Dim::AddTerm(Monomial monomial, int64_t coefficient, Terms& terms) {
  const auto term = terms.try_emplace(std::move(monomial), 0).first;
  term->second = SaturatedSum(term->second, coefficient);
  if (term->second == 0) terms.erase(term);
}

Dim Dim::FloorDiv(const Dim& x, int64_t divisor) {
  if (x.is_too_complex_) return x;
  if (const auto number = x.constant()) return Dim(FloorQuotient(*number, divisor));
  if (const auto exact = x.ExactQuotient(Dim(divisor))) return *exact;
  return Of(Atom{absl::StrCat("floor((", x.ToText(), ")/", divisor, ")"),
                 std::make_shared<const Division>(Division{x, divisor})});
}

bool operator==(const Dim& a, const Dim& b) {
  if (a.is_too_complex_ || b.is_too_complex_) return false;
  if (a.terms_ == nullptr || b.terms_ == nullptr) return a.terms_ == b.terms_ && a.number_ == b.number_;
  return a.terms_ == b.terms_ || *a.terms_ == *b.terms_;
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.is_too_complex_ || b.is_too_complex_) return Dim::TooComplex();
  if (a.terms_ == nullptr && b.terms_ == nullptr) return SaturatedSum(a.number_, b.number_);
  Dim::Terms sum = a.terms();
  for (const auto& [monomial, coefficient] : b.terms()) Dim::AddTerm(monomial, coefficient, sum);
  return Dim::Of(std::move(sum));
}

Dim operator*(const Dim& a, const Dim& b) {
  if (a.is_too_complex_ || b.is_too_complex_) return Dim::TooComplex();
  if (a.terms_ == nullptr && b.terms_ == nullptr) return SaturatedProduct(a.number_, b.number_);
  const Dim::Terms left = a.terms(), right = b.terms();
  // Pairs of terms may cancel out; that many don't in any shape that is meant.
  if (left.size() * right.size() > 4 * Dim::kMaxTerms) return Dim::TooComplex();
  Dim::Terms product;
  for (const auto& [left_monomial, left_coefficient] : left)
    for (const auto& [right_monomial, right_coefficient] : right) {
      Dim::Monomial monomial;
      std::merge(left_monomial.begin(), left_monomial.end(), right_monomial.begin(), right_monomial.end(),
                 std::back_inserter(monomial));
      Dim::AddTerm(std::move(monomial), SaturatedProduct(left_coefficient, right_coefficient), product);
    }
  return Dim::Of(std::move(product));
}

std::optional<int64_t> Dim::constant() const {
  if (is_too_complex_ || terms_ != nullptr) return std::nullopt;
  return number_;
}

bool Dim::Mentions(const Dim& symbol) const {
  if (is_too_complex_) return true;  // as far as is known
  if (terms_ == nullptr) return false;
  const Atom& sought = symbol.terms_->begin()->first.front();
  for (const auto& [monomial, coefficient] : *terms_)
    for (const Atom& atom : monomial)
      if (atom == sought || (atom.division && atom.division->numerator.Mentions(symbol))) return true;
  return false;
}

std::optional<Dim> Dim::ExactQuotient(const Dim& divisor) const {
  if (is_too_complex_ || divisor.is_too_complex_) return std::nullopt;
  const Terms divisors = divisor.terms();
  if (divisors.size() != 1)
    return *this == divisor && !divisors.empty() ? std::optional(Dim(1)) : std::nullopt;
  const auto& [by, by_coefficient] = *divisors.begin();
  Terms quotient;
  for (const auto& [monomial, coefficient] : terms()) {
    if ((by_coefficient == -1 && coefficient == std::numeric_limits<int64_t>::min()) ||  // no such number
        coefficient % by_coefficient != 0 ||
        !std::includes(monomial.begin(), monomial.end(), by.begin(), by.end()))
      return std::nullopt;
    Monomial rest;
    std::set_difference(monomial.begin(), monomial.end(), by.begin(), by.end(), std::back_inserter(rest));
    quotient[std::move(rest)] = coefficient / by_coefficient;
  }
  return Of(std::move(quotient));
}

absl::StatusOr<int64_t> Dim::Evaluate(const Bindings& bindings) const {
  if (is_too_complex_)
    return absl::ResourceExhaustedError(absl::StrCat("a dimension has more than ", kMaxTerms, " terms or ",
                                                     kMaxTextBytes, " bytes of text, expected fewer"));
  if (terms_ == nullptr) return number_;
  int64_t sum = 0;
  for (const auto& [monomial, coefficient] : *terms_) {
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
  if (is_too_complex_) return "?";
  if (terms_ == nullptr) return absl::StrCat(number_);
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
  for (const auto& [monomial, coefficient] : *terms_)
    if (!monomial.empty()) append(monomial, coefficient);
  if (const auto constant_term = terms_->find({}); constant_term != terms_->end())
    append(constant_term->first, constant_term->second);
  return text;
}

namespace {

// sum := ['-'] product {('+'|'-') product};  product := factor {'*' factor};
// factor := number | symbol | "floor((" sum ")/" number ")"
class DimParser {
  // Only behind a minus is it a number of 64 bits.
  static constexpr std::string_view kBeyond = "9223372036854775808";

 public:
  explicit DimParser(std::string_view text) : text_(text) {}

  absl::StatusOr<Dim> Parse() {
    ASSIGN_OR_RETURN(Dim dim, Sum());
    if (at_ != text_.size()) return Error();
    return dim;
  }

 private:
  absl::Status Error() const {
    return absl::InvalidArgumentError(absl::StrCat("dimension '", std::string(text_.substr(0, 200)),
                                                   "': unexpected text at offset ", at_,
                                                   ", expected an expression such as 2*N+1"));
  }
  absl::Status TooComplex() const {
    return absl::ResourceExhaustedError(absl::StrCat("dimension '", std::string(text_.substr(0, 60)),
                                                     "...': more than ", Dim::kMaxTerms, " terms or ",
                                                     Dim::kMaxTextBytes, " bytes, expected fewer"));
  }
  bool Accept(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  bool AcceptNumber(std::string_view digits) {
    const std::string_view rest = text_.substr(at_);
    if (!rest.starts_with(digits) ||
        (rest.size() > digits.size() && std::isalnum(static_cast<unsigned char>(rest[digits.size()]))))
      return false;
    at_ += digits.size();
    return true;
  }
  absl::StatusOr<Dim> Sum() {
    Dim sum;
    bool negative = Accept("-");
    for (;;) {
      const bool is_least = negative && AcceptNumber(kBeyond);
      ASSIGN_OR_RETURN(const Dim product,
                       Product(is_least ? Dim(std::numeric_limits<int64_t>::min()) : Dim(1), is_least));
      sum = negative && !is_least ? sum - product : sum + product;
      if (sum.is_too_complex()) return TooComplex();
      if (Accept("+")) {
        negative = false;
      } else if (Accept("-")) {
        negative = true;
      } else {
        return sum;
      }
    }
  }
  // `product` times what follows; `has_factor`: it was written, so that nothing has to.
  absl::StatusOr<Dim> Product(Dim product, bool has_factor) {
    if (has_factor && !Accept("*")) return product;
    do {
      ASSIGN_OR_RETURN(const Dim factor, Factor());
      product = product * factor;
      if (product.is_too_complex()) return TooComplex();
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
      const Dim quotient = Dim::FloorDiv(numerator, *number);
      if (quotient.is_too_complex()) return TooComplex();
      return quotient;
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
