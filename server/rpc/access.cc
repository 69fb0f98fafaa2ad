#include "server/rpc/access.h"

#include <grpcpp/server_context.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/text.h"
#include "server/net/secret_file.h"

namespace hachi::server {
namespace {

constexpr size_t kMaxTokensBytes = size_t{1} << 20;
constexpr size_t kMinTokenBytes = 16;
constexpr absl::Duration kLookEvery = absl::Seconds(1);
constexpr std::string_view kBearer = "Bearer ";
constexpr char kEveryModel[] = "*";

std::string DigestOf(std::string_view token) { return Sha256Of(token, {}).value_or(""); }

// The token of a call; nothing when it has none.
std::optional<std::string_view> TokenOf(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find("authorization");
  if (found == context.client_metadata().end()) return std::nullopt;
  const std::string_view value(found->second.data(), found->second.size());
  return value.starts_with(kBearer) ? value.substr(kBearer.size()) : "";
}

std::string Shown(std::string_view name) {
  return IsPrintable(name) ? std::string(name.substr(0, 128)) : "(not text)";
}

absl::Status Unauthenticated(const char* found) {
  return absl::UnauthenticatedError(
      absl::StrCat("caller: ", found, ", expected a client that is configured"));
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> Access::ParseTokens(std::string_view text) {
  std::map<std::string, std::string> tokens;
  int line_number = 0;
  for (const absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++line_number;
    const std::vector<std::string> words = absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || words[0].starts_with('#')) continue;
    const auto error = [&](const char* found) {
      return absl::InvalidArgumentError(absl::StrCat("line ", line_number, ": ", found,
                                                     ", expected a client's name and a token of at least ",
                                                     kMinTokenBytes, " characters"));
    };
    if (words.size() != 2) return error("not two words");
    if (words[1].size() < kMinTokenBytes) return error("a short token");
    if (!tokens.emplace(words[1], words[0]).second) return error("a token again");
  }
  return tokens;
}

Access::Access(const AuthConfig& config)
    : models_by_client_([&] {
        std::map<std::string, std::set<std::string, std::less<>>, std::less<>> models;
        for (const ClientConfig& client : config.clients)
          models[client.name].insert(client.models.begin(), client.models.end());
        return models;
      }()),
      tokens_file_(config.tokens) {}

absl::StatusOr<std::unique_ptr<Access>> Access::Create(const AuthConfig& config) {
  std::unique_ptr<Access> access(new Access(config));
  MutexLock lock(access->mutex_);
  RETURN_IF_ERROR(access->ReadTokens());
  return access;
}

absl::Status Access::ReadTokens() const {
  if (tokens_file_.empty()) return absl::OkStatus();
  look_again_ = Clock::Real().Now() + kLookEvery;
  struct stat about = {};
  stat(tokens_file_.c_str(), &about);
  std::string fingerprint = absl::StrCat(about.st_dev, ":", about.st_ino, ":", about.st_size, ":",
                                         about.st_mtim.tv_sec, ".", about.st_mtim.tv_nsec);
  if (fingerprint == fingerprint_) return absl::OkStatus();
  fingerprint_ = std::move(fingerprint);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(tokens_file_, kMaxTokensBytes));
  const auto tokens = ParseTokens(text);
  RETURN_IF_ERROR(WithContext(tokens.status(), absl::StrCat("auth.tokens: '", tokens_file_.string(), "'")));
  WarnOfReaders("auth: tokens", tokens_file_);
  owner_by_digest_.clear();
  for (const auto& [token, name] : *tokens) owner_by_digest_[DigestOf(token)] = name;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Access::OwnerOf(std::string_view token) const {
  const std::string digest = DigestOf(token);  // so that how long a search takes says nothing about tokens
  MutexLock lock(mutex_);
  if (Clock::Real().Now() >= look_again_)
    if (const absl::Status read = ReadTokens(); !read.ok())
      LogError(absl::StrCat("auth: the changed file is not taken: ", read.message()));
  const auto owner = owner_by_digest_.find(digest);
  if (owner == owner_by_digest_.end()) return Unauthenticated("an unknown token");
  return owner->second;
}

absl::StatusOr<std::string> Access::NameOf(const grpc::CallbackServerContext& context) const {
  if (!tokens_file_.empty())
    if (const auto token = TokenOf(context)) return OwnerOf(*token);
  const auto auth = context.auth_context();
  std::string shown;
  for (const char* property : {"x509_subject_alternative_name", "x509_common_name"}) {
    for (const grpc::string_ref& value : auth->FindPropertyValues(property)) {
      const std::string_view name(value.data(), value.size());
      if (models_by_client_.contains(name)) return std::string(name);
      if (shown.empty()) shown = Shown(name);
    }
  }
  if (shown.empty())
    return Unauthenticated(tokens_file_.empty() ? "shows no certificate"
                                                : "shows no certificate and no token");
  return absl::PermissionDeniedError(
      absl::StrCat("client '", shown, "': is not configured, expected one that is"));
}

absl::Status Access::Check(const grpc::CallbackServerContext& context, std::string_view model) const {
  ASSIGN_OR_RETURN(const std::string name, NameOf(context));
  const auto client = models_by_client_.find(name);
  const bool may = client != models_by_client_.end() &&
                   (model.empty() || client->second.contains(model) || client->second.contains(kEveryModel));
  if (may) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("client '", Shown(name), "': may not use model '",
                                                  Shown(model), "', expected one that it is configured for"));
}

}  // namespace hachi::server
