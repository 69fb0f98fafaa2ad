#include "server/net/certificates.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"

namespace hachi::server {
namespace {

constexpr size_t kMaxPemBytes = size_t{1} << 20;
constexpr absl::Duration kLookEvery = absl::Seconds(1);

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using X509Pointer = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;

Bio BioOf(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

// A key file that asks for a password is refused instead of asking the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

// The first certificate of a PEM text, in which all are to be good.
absl::StatusOr<X509Pointer> FirstCertificate(const std::string& pem) {
  const Bio bio = BioOf(pem);
  X509Pointer first;
  while (X509Pointer next{PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr)})
    if (first == nullptr) first = std::move(next);
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  if (first == nullptr || ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
    return absl::InvalidArgumentError("is not text of certificates, expected PEM");
  return first;
}

absl::Time Expiry(const X509& certificate) {
  std::tm time = {};
  ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &time);
  return absl::FromUnixSeconds(timegm(&time));
}

// OK when all of `files` fit each other; sets when they expire.
absl::Status Check(CertificateFiles& files) {
  const auto certificate = FirstCertificate(files.certificate);
  RETURN_IF_ERROR(WithContext(certificate.status(), "certificate"));
  const Bio bio = BioOf(files.key);
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  if (key == nullptr) return absl::InvalidArgumentError("key: is not a key, expected PEM without a password");
  if (X509_check_private_key(certificate->get(), key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("key: is another certificate's, expected the certificate's own");
  }
  if (!files.client_ca.empty())
    RETURN_IF_ERROR(WithContext(FirstCertificate(files.client_ca).status(), "client_ca"));
  files.expires = Expiry(**certificate);
  if (files.expires <= absl::Now())
    return absl::InvalidArgumentError(absl::StrCat(
        "certificate: has expired on ", absl::FormatTime(files.expires), ", expected a valid one"));
  return absl::OkStatus();
}

void WarnOfReaders(const std::filesystem::path& key) {
  struct stat about = {};
  if (stat(key.c_str(), &about) == 0 && (about.st_mode & S_IROTH) != 0)
    LogWarning(
        absl::StrCat("tls: key '", key.string(), "' may be read by everybody, expected its owner alone"));
}

}  // namespace

Certificates::Certificates(TlsConfig config, CertificateMetrics* metrics)
    : config_(std::move(config)), metrics_(metrics) {}

absl::StatusOr<std::unique_ptr<Certificates>> Certificates::Read(const TlsConfig& config,
                                                                 CertificateMetrics* metrics) {
  std::unique_ptr<Certificates> certificates(new Certificates(config, metrics));
  const std::string fingerprint = certificates->Fingerprint();
  ASSIGN_OR_RETURN(auto current, certificates->ReadAll());
  WarnOfReaders(config.key);
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
  WarnOfReaders(config_.key);
  current_ = *std::move(read);
  metrics_->expiry_seconds.Set(absl::ToDoubleSeconds(current_->expires - absl::UnixEpoch()));
  LogInfo("tls: changed certificates are in use");
  return current_;
}

}  // namespace hachi::server
