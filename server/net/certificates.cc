#include "server/net/certificates.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "server/net/pem.h"
#include "server/net/secret_file.h"

namespace hachi::server {
namespace {

constexpr size_t kMaxPemBytes = size_t{1} << 20;
constexpr absl::Duration kLookEvery = absl::Seconds(1);

absl::Time Expiry(const X509& certificate) {
  std::tm time = {};
  ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &time);
  return absl::FromUnixSeconds(timegm(&time));
}

// OK when all of `files` fit each other; sets when they expire.
absl::Status Check(CertificateFiles& files) {
  const auto certificates = ParseCertificates(files.certificate);
  RETURN_IF_ERROR(WithContext(certificates.status(), "certificate"));
  const auto key = ParseKey(files.key);
  RETURN_IF_ERROR(WithContext(key.status(), "key"));
  X509& own = *certificates->front();
  if (X509_check_private_key(&own, key->get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("key: is another certificate's, expected the certificate's own");
  }
  if (!files.client_ca.empty())
    RETURN_IF_ERROR(WithContext(ParseCertificates(files.client_ca).status(), "client_ca"));
  files.expires = Expiry(own);
  if (files.expires <= absl::Now())
    return absl::InvalidArgumentError(absl::StrCat(
        "certificate: has expired on ", absl::FormatTime(files.expires), ", expected a valid one"));
  return absl::OkStatus();
}

}  // namespace

Certificates::Certificates(TlsConfig config, CertificateMetrics* metrics)
    : config_(std::move(config)), metrics_(metrics) {}

absl::StatusOr<std::unique_ptr<Certificates>> Certificates::Read(const TlsConfig& config,
                                                                 CertificateMetrics* metrics) {
  std::unique_ptr<Certificates> certificates(new Certificates(config, metrics));
  const std::string fingerprint = certificates->Fingerprint();
  ASSIGN_OR_RETURN(auto current, certificates->ReadAll());
  WarnOfReaders("tls: key", config.key);
  metrics->expiry_seconds.Set(absl::ToDoubleSeconds(current->expires - absl::UnixEpoch()));
  MutexLock lock(certificates->mutex_);
  certificates->fingerprint_ = fingerprint;
  certificates->current_ = std::move(current);
  return certificates;
}

// Changes whenever a file does, or another one takes its place.
std::string Certificates::Fingerprint() const {
  std::string print;
  for (const auto* path : {&config_.certificate, &config_.key, &config_.client_ca}) {
    struct stat about = {};
    if (path->empty() || stat(path->c_str(), &about) != 0) continue;
    absl::StrAppend(&print, about.st_dev, ":", about.st_ino, ":", about.st_size, ":", about.st_mtim.tv_sec,
                    ".", about.st_mtim.tv_nsec, ";");
  }
  return print;
}

absl::StatusOr<std::shared_ptr<const CertificateFiles>> Certificates::ReadAll() const {
  const auto files = std::make_shared<CertificateFiles>();
  const auto read = [](const std::filesystem::path& path, std::string& text) -> absl::Status {
    if (path.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(text, ReadFile(path, kMaxPemBytes));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(WithContext(read(config_.certificate, files->certificate), "tls.certificate"));
  RETURN_IF_ERROR(WithContext(read(config_.key, files->key), "tls.key"));
  RETURN_IF_ERROR(WithContext(read(config_.client_ca, files->client_ca), "tls.client_ca"));
  RETURN_IF_ERROR(WithContext(Check(*files), "tls"));
  return files;
}

std::shared_ptr<const CertificateFiles> Certificates::Current() {
  MutexLock lock(mutex_);
  const absl::Time now = Clock::Real().Now();
  if (now < look_again_) return current_;
  look_again_ = now + kLookEvery;
  std::string fingerprint = Fingerprint();
  if (fingerprint == fingerprint_) return current_;
  fingerprint_ = std::move(fingerprint);
  auto read = ReadAll();
  if (!read.ok()) {
    LogError(absl::StrCat("tls: changed files are not taken: ", read.status().message()));
    metrics_->reload_failures_total.Increment();
    return current_;
  }
  WarnOfReaders("tls: key", config_.key);
  current_ = *std::move(read);
  metrics_->expiry_seconds.Set(absl::ToDoubleSeconds(current_->expires - absl::UnixEpoch()));
  LogInfo("tls: changed certificates are in use");
  return current_;
}

}  // namespace hachi::server
