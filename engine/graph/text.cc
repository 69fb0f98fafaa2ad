// The text form of a graph; its grammar stands in graph.h.
#include <algorithm>
#include <cctype>
#include <limits>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"
#include "engine/graph/graph.h"

namespace hachi {
namespace {

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '/' || c == ':' ||
         c == '-';
}

// A bare name never ends in ':' and holds no "->", so that the parser can tell where it stops.
std::string NameText(const std::string& name) {
  bool bare = !name.empty() && name.back() != ':' && name != "_" && name.find("->") == std::string::npos;
  for (const char c : name) bare = bare && IsNameCharacter(c);
  if (bare) return name;
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

// The shortest text that reads back as the same number.
std::string NumberText(float value) {
  for (int digits = 6; digits < 9; ++digits) {
    const std::string text = absl::StrFormat("%.*g", digits, value);
    float read = 0;
    if (absl::SimpleAtof(text, &read) && read == value) return text;
  }
  return absl::StrFormat("%.9g", value);
}

std::string TypeText(const Value& value) {
  std::string text =
      absl::StrCat(std::string(NameOf(value.dtype)), value.dims ? ShapeText(*value.dims) : "[?]");
  if (!value.layout.is_row_major()) absl::StrAppend(&text, " ", value.layout.ToText());
  if (value.quant) {
    absl::StrAppend(&text, " quant(");
    if (!value.quant->per_tensor()) absl::StrAppend(&text, "axis=", value.quant->axis, ",");
    for (size_t i = 0; i < value.quant->scales.size(); ++i)
      absl::StrAppend(&text, i ? "," : "", NumberText(value.quant->scales[i]), ":",
                      value.quant->zero_points[i]);
    text += ')';
  }
  return text;
}

std::string AttrText(const Attr& attr) {
  const auto quoted = [](const std::string& s) {
    std::string text = "\"";
    for (const char c : s) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    return text + '"';
  };
  const auto float_text = [](float value) {
    std::string text = NumberText(value);
    if (text.find_first_of(".einf") == std::string::npos) text += ".0";
    return text;
  };
  struct Visitor {
    decltype(quoted)& quote;
    decltype(float_text)& number;
    std::string operator()(int64_t v) { return absl::StrCat(v); }
    std::string operator()(float v) { return number(v); }
    std::string operator()(const std::string& v) { return quote(v); }
    std::string operator()(const std::vector<int64_t>& v) {
      return absl::StrCat("[", absl::StrJoin(v, ","), "]");
    }
    std::string operator()(const std::vector<float>& v) {
      std::string text = "[";
      for (size_t i = 0; i < v.size(); ++i) absl::StrAppend(&text, i ? "," : "", number(v[i]));
      return text + "]";
    }
    std::string operator()(const std::vector<std::string>& v) {
      std::string text = "[";
      for (size_t i = 0; i < v.size(); ++i) absl::StrAppend(&text, i ? "," : "", quote(v[i]));
      return text + "]";
    }
    std::string operator()(const std::shared_ptr<const Tensor>& v) {
      return absl::StrCat("tensor(", std::string(NameOf(v->dtype())), ShapeText(v->shape()), ")");
    }
    std::string operator()(const std::shared_ptr<const Graph>& v) {
      return absl::StrCat("graph(", v->nodes().size(), " nodes)");
    }
  };
  return std::visit(Visitor{quoted, float_text}, attr);
}

std::string ElementsText(const Tensor& tensor) {
  std::string text;
  VisitDType(tensor.dtype(), [&](auto zero) {
    for (const auto element : tensor.As<decltype(zero)>()) {
      text += ' ';
      if constexpr (std::is_same_v<decltype(zero), float>) {
        text += NumberText(element);
      } else if constexpr (std::is_same_v<decltype(zero), double>) {
        text += absl::StrFormat("%.17g", element);
      } else if constexpr (std::is_signed_v<decltype(zero)>) {
        absl::StrAppend(&text, static_cast<int64_t>(element));
      } else {
        absl::StrAppend(&text, static_cast<uint64_t>(element));
      }
    }
  });
  return text;
}

}  // namespace

std::string ToText(const Node& node) {
  std::string text = absl::StrCat(NameText(node.name), ": ", node.op, "(");
  for (size_t i = 0; i < node.inputs.size(); ++i)
    absl::StrAppend(&text, i ? ", " : "", node.inputs[i] ? NameText(node.inputs[i]->name) : "_");
  text += ')';
  if (!node.attrs.empty()) {
    text += " {";
    bool first = true;
    for (const auto& [name, attr] : node.attrs) {
      absl::StrAppend(&text, first ? "" : ", ", name, "=", AttrText(attr));
      first = false;
    }
    text += '}';
  }
  if (!node.post_ops.empty()) {
    text += " post";
    for (const PostOp& post_op : node.post_ops) absl::StrAppend(&text, " ", ToText(post_op));
  }
  text += " -> ";
  for (size_t i = 0; i < node.outputs.size(); ++i)
    absl::StrAppend(&text, i ? ", " : "", NameText(node.outputs[i]->name), ": ", TypeText(*node.outputs[i]));
  return text;
}

std::string ToText(const Graph& graph, int64_t max_constant_elements) {
  std::string text = absl::StrCat("graph ", NameText(graph.name()), " {\n");
  for (const Value* input : graph.inputs())
    absl::StrAppend(&text, "  input ", NameText(input->name), ": ", TypeText(*input), "\n");
  for (const auto& [name, value] : graph.values())
    if (value->is_constant())
      absl::StrAppend(
          &text, "  const ", NameText(name), ": ", TypeText(*value), " =",
          value->constant->count() > max_constant_elements ? " ..." : ElementsText(*value->constant), "\n");
  for (const auto& node : graph.nodes()) absl::StrAppend(&text, "  ", ToText(*node), "\n");
  for (const Graph::Output& output : graph.outputs())
    absl::StrAppend(&text, "  output ", NameText(output.name), " = ", NameText(output.value->name), "\n");
  return text + "}\n";
}

namespace {

constexpr int64_t kMostElements = 1 << 26;  // of all constants: a word of text can ask for any number of them

// Whether the number is within the type's, where its integers are exact.
template <typename T>
bool Holds(double number) {
  return number >= static_cast<double>(std::numeric_limits<T>::lowest()) &&
         number <= static_cast<double>(std::numeric_limits<T>::max()) && number < 9e18;
}

class GraphParser {
 public:
  explicit GraphParser(std::string_view text) : text_(text) {}

  absl::StatusOr<Graph> Parse() {
    RETURN_IF_ERROR(Expect("graph"));
    ASSIGN_OR_RETURN(const std::string name, Name());
    Graph graph(name);
    RETURN_IF_ERROR(Expect("{"));
    while (!Accept("}")) RETURN_IF_ERROR(ParseLine(graph));
    SkipSpace();
    if (at_ != text_.size()) return Error("the end of the text");
    RETURN_IF_ERROR(graph.Verify());
    return graph;
  }

 private:
  absl::Status Error(std::string_view expected) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
    return absl::InvalidArgumentError(absl::StrCat("graph text: line ", line, ": found '",
                                                   std::string(text_.substr(at_, 20)), "', expected ",
                                                   std::string(expected)));
  }
  void SkipSpace() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool Peek(std::string_view token) {
    SkipSpace();
    return text_.substr(at_, token.size()) == token;
  }
  bool Accept(std::string_view token) {
    if (!Peek(token)) return false;
    at_ += token.size();
    return true;
  }
  absl::Status Expect(std::string_view token) {
    if (!Accept(token)) return Error(token);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Quoted() {
    std::string text;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
      if (at_ < text_.size()) text += text_[at_];
    }
    if (at_ >= text_.size()) {
      at_ = text_.size();
      return Error("a closing quote");
    }
    ++at_;
    return text;
  }
  absl::StatusOr<std::string> Name() {
    if (Peek("\"")) return Quoted();
    const size_t start = at_;
    while (at_ < text_.size() && IsNameCharacter(text_[at_]) && text_.substr(at_, 2) != "->") ++at_;
    while (at_ > start && text_[at_ - 1] == ':') --at_;
    if (at_ == start) return Error("a name");
    return std::string(text_.substr(start, at_ - start));
  }
  // Everything up to one of `stops`, brackets matched.
  std::string_view Token(std::string_view stops) {
    SkipSpace();
    const size_t start = at_;
    int depth = 0;
    while (at_ < text_.size() && (depth > 0 || stops.find(text_[at_]) == std::string_view::npos)) {
      depth += text_[at_] == '(';
      depth -= text_[at_] == ')';
      ++at_;
    }
    return text_.substr(start, at_ - start);
  }
  template <typename T>
  absl::StatusOr<T> Number(std::string_view stops) {
    const std::string token(Token(stops));
    T value{};
    if constexpr (std::is_same_v<T, float>) {
      if (absl::SimpleAtof(token, &value)) return value;
    } else if constexpr (std::is_same_v<T, double>) {
      if (absl::SimpleAtod(token, &value)) return value;
    } else if constexpr (std::is_same_v<T, uint64_t>) {
      if (absl::SimpleAtoi(token, &value)) return value;
    } else {
      int64_t wide = 0;
      if (absl::SimpleAtoi(token, &wide) && static_cast<int64_t>(static_cast<T>(wide)) == wide)
        return static_cast<T>(wide);
    }
    at_ -= token.size();
    return Error(absl::StrCat("a number of type ", std::string(NameOf(kDTypeOf<T>))));
  }

  struct Type {
    DType dtype;
    std::optional<SymbolicShape> dims;
    Layout layout;
    std::optional<QuantParams> quant;
  };

  absl::StatusOr<Type> ParseType() {
    Type type;
    const std::string dtype_name(Token("["));
    const auto dtype = ParseDType(dtype_name);
    if (!dtype) return Error("an element type such as f32");
    type.dtype = *dtype;
    RETURN_IF_ERROR(Expect("["));
    if (Accept("?")) {
      RETURN_IF_ERROR(Expect("]"));
    } else {
      type.dims.emplace();
      while (!Accept("]")) {
        ASSIGN_OR_RETURN(Dim dim, Dim::Parse(Token(",]")));
        type.dims->push_back(std::move(dim));
        Accept(",");
      }
    }
    if (Accept("channels_last")) {
      if (!type.dims) return Error("dimensions before a layout");
      type.layout = Layout::ChannelsLast(type.dims->size());
    }
    if (Accept("quant(")) {
      QuantParams quant{{}, {}, -1};
      if (Accept("axis=")) {
        ASSIGN_OR_RETURN(quant.axis, Number<int32_t>(","));
        RETURN_IF_ERROR(Expect(","));
      }
      do {
        ASSIGN_OR_RETURN(const float scale, Number<float>(":"));
        RETURN_IF_ERROR(Expect(":"));
        ASSIGN_OR_RETURN(const int32_t zero_point, Number<int32_t>(",)"));
        quant.scales.push_back(scale);
        quant.zero_points.push_back(zero_point);
      } while (Accept(","));
      RETURN_IF_ERROR(Expect(")"));
      type.quant = std::move(quant);
    }
    return type;
  }

  absl::StatusOr<std::shared_ptr<const Tensor>> ParseElements(DType dtype, const Shape& shape) {
    Tensor tensor(dtype, shape);
    absl::Status status;
    const bool known = VisitDType(dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto fill = [&]() -> absl::Status {
        if (Accept("random")) {
          ASSIGN_OR_RETURN(const int64_t seed, Number<int64_t>(" "));
          ASSIGN_OR_RETURN(const double low, Number<double>(" "));
          ASSIGN_OR_RETURN(const double high, Number<double>(" \n"));
          std::mt19937 generator(static_cast<uint32_t>(seed));
          if (!Holds<T>(low) || !Holds<T>(high) || low > high)
            return Error("a range of elements before this");
          std::uniform_real_distribution<double> uniform(low, high);
          for (T& element : tensor.As<T>()) element = static_cast<T>(uniform(generator));
          return absl::OkStatus();
        }
        const bool splat = Accept("splat");
        bool first = true;
        T value{};
        for (T& element : tensor.As<T>()) {
          if (!splat || first) {
            if constexpr (std::is_same_v<T, bool>) {
              ASSIGN_OR_RETURN(const uint8_t bit, Number<uint8_t>(" \n"));
              value = bit != 0;
            } else {
              ASSIGN_OR_RETURN(value, Number<T>(" \n"));
            }
          }
          first = false;
          element = value;
        }
        return absl::OkStatus();
      };
      status = fill();
    });
    RETURN_IF_ERROR(status);
    if (!known) return Error("an element type that text can hold");
    return std::make_shared<const Tensor>(std::move(tensor));
  }

  absl::StatusOr<Attr> ParseAttr() {
    if (Peek("\"")) return Quoted();
    const auto scalar = [](const std::string& token) -> std::optional<Attr> {
      int64_t integer = 0;
      float number = 0;
      if (absl::SimpleAtoi(token, &integer)) return Attr(integer);
      if (absl::SimpleAtof(token, &number)) return Attr(number);
      return std::nullopt;
    };
    if (!Accept("[")) {
      const auto value = scalar(std::string(Token(",}")));
      if (!value) return Error("an attribute's value before this");
      return *value;
    }
    std::vector<int64_t> integers;
    std::vector<float> floats;
    std::vector<std::string> strings;
    while (!Accept("]")) {
      if (Peek("\"")) {
        ASSIGN_OR_RETURN(std::string text, Quoted());
        strings.push_back(std::move(text));
      } else {
        const auto value = scalar(std::string(Token(",]")));
        if (!value) return Error("a list element before this");
        if (const int64_t* integer = std::get_if<int64_t>(&*value)) integers.push_back(*integer);
        if (const float* number = std::get_if<float>(&*value)) floats.push_back(*number);
      }
      Accept(",");
    }
    if (!strings.empty()) return Attr(strings);
    if (!floats.empty()) return Attr(floats);
    return Attr(integers);
  }

  absl::StatusOr<PostOp> ParsePostOp() {
    using Kind = PostOp::Kind;
    static const std::map<std::string, Kind> kinds = {{"clip", Kind::kClip},
                                                      {"leaky_relu", Kind::kLeakyRelu},
                                                      {"sigmoid", Kind::kSigmoid},
                                                      {"tanh", Kind::kTanh},
                                                      {"hard_sigmoid", Kind::kHardSigmoid},
                                                      {"hard_swish", Kind::kHardSwish},
                                                      {"swish", Kind::kSwish},
                                                      {"gelu", Kind::kGelu},
                                                      {"gelu_tanh", Kind::kGeluTanh},
                                                      {"linear", Kind::kLinear},
                                                      {"elu", Kind::kElu},
                                                      {"add", Kind::kAdd}};
    const std::string word(Token("("));
    const auto kind = kinds.find(word);
    if (kind == kinds.end()) return Error("a post-op before this");
    PostOp post_op{kind->second};
    RETURN_IF_ERROR(Expect("("));
    std::vector<float> arguments;
    while (!Accept(")")) {
      ASSIGN_OR_RETURN(const float argument, Number<float>(",)"));
      arguments.push_back(argument);
      Accept(",");
    }
    if (post_op.kind == Kind::kAdd) {
      if (arguments.size() != 1 || !(arguments[0] >= 0 && arguments[0] < kMostElements))
        return Error("one operand before this");
      post_op.operand = static_cast<int>(arguments[0]);
      return post_op;
    }
    if (!arguments.empty()) post_op.alpha = arguments[0];
    if (arguments.size() > 1) post_op.beta = arguments[1];
    return post_op;
  }

  absl::StatusOr<Value*> Lookup(Graph& graph) {
    ASSIGN_OR_RETURN(const std::string name, Name());
    Value* value = graph.FindValue(name);
    if (value == nullptr) return Error(absl::StrCat("a value defined above, not '", name, "', before this"));
    return value;
  }

  absl::Status ParseLine(Graph& graph) {
    if (Accept("input ")) {
      ASSIGN_OR_RETURN(const std::string name, NewName(graph));
      ASSIGN_OR_RETURN(Type type, ParseType());
      if (!type.dims) return Error("dimensions before this");
      Value* input = graph.AddInput(name, type.dtype, *type.dims);
      input->layout = type.layout;
      input->quant = type.quant;
      return absl::OkStatus();
    }
    if (Accept("const ")) {
      ASSIGN_OR_RETURN(const std::string name, NewName(graph));
      ASSIGN_OR_RETURN(Type type, ParseType());
      const auto shape = type.dims ? ConstantShape(*type.dims) : std::nullopt;
      if (!shape) return Error("a shape of numbers before this");
      RETURN_IF_ERROR(Expect("="));
      RETURN_IF_ERROR(CheckShape(*shape, SizeOf(type.dtype)));
      elements_ += CountOf(*shape);
      if (elements_ > kMostElements)
        return Error(absl::StrCat("constants of at most ", kMostElements, " elements together before this"));
      ASSIGN_OR_RETURN(auto tensor, ParseElements(type.dtype, *shape));
      graph.AddConstant(name, std::move(tensor))->quant = type.quant;
      return absl::OkStatus();
    }
    if (Accept("output ")) {
      ASSIGN_OR_RETURN(const std::string name, Name());
      RETURN_IF_ERROR(Expect("="));
      ASSIGN_OR_RETURN(Value * value, Lookup(graph));
      graph.AddOutput(name, value);
      return absl::OkStatus();
    }
    return ParseNode(graph);
  }

  absl::StatusOr<std::string> NewName(Graph& graph) {
    ASSIGN_OR_RETURN(const std::string name, Name());
    if (graph.FindValue(name) != nullptr)
      return Error(absl::StrCat("a new name, not '", name, "', before this"));
    RETURN_IF_ERROR(Expect(":"));
    return name;
  }

  absl::Status ParseNode(Graph& graph) {
    ASSIGN_OR_RETURN(const std::string node_name, Name());
    RETURN_IF_ERROR(Expect(":"));
    ASSIGN_OR_RETURN(const std::string op, Name());
    RETURN_IF_ERROR(Expect("("));
    std::vector<Value*> inputs;
    while (!Accept(")")) {
      if (Peek("_,") || Peek("_)")) {
        Accept("_");
        inputs.push_back(nullptr);
      } else {
        ASSIGN_OR_RETURN(Value * input, Lookup(graph));
        inputs.push_back(input);
      }
      Accept(",");
    }
    std::map<std::string, Attr> attrs;
    if (Accept("{")) {
      while (!Accept("}")) {
        ASSIGN_OR_RETURN(const std::string attr_name, Name());
        RETURN_IF_ERROR(Expect("="));
        ASSIGN_OR_RETURN(attrs[attr_name], ParseAttr());
        Accept(",");
      }
    }
    std::vector<PostOp> post_ops;
    if (Accept("post")) {
      while (!Peek("->")) {
        ASSIGN_OR_RETURN(const PostOp post_op, ParsePostOp());
        post_ops.push_back(post_op);
      }
    }
    RETURN_IF_ERROR(Expect("->"));
    std::vector<std::string> names;
    std::vector<Type> types;
    do {
      ASSIGN_OR_RETURN(std::string name, NewName(graph));
      ASSIGN_OR_RETURN(Type type, ParseType());
      names.push_back(std::move(name));
      types.push_back(std::move(type));
    } while (Accept(","));
    Node* node = graph.AddNode(op, node_name, std::move(inputs), std::move(names), std::move(attrs));
    node->post_ops = std::move(post_ops);
    for (size_t i = 0; i < types.size(); ++i) {
      Value& output = *node->outputs[i];
      output.dtype = types[i].dtype;
      output.dims = std::move(types[i].dims);
      output.layout = types[i].layout;
      output.quant = std::move(types[i].quant);
    }
    return absl::OkStatus();
  }

  std::string_view text_;
  size_t at_ = 0;
  int64_t elements_ = 0;  // of all constants
};

}  // namespace

absl::StatusOr<Graph> ParseGraph(std::string_view text) { return GraphParser(text).Parse(); }

}  // namespace hachi
