// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/progress_sink.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace tftrain {
namespace {

std::string_view Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

class StderrSink : public ProgressSink {
 public:
  void Write(std::string_view text) override {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
  }
  bool is_terminal() const override {
    return ::isatty(STDERR_FILENO) == 1 && Environment("TERM") != "dumb";
  }
  int width() const override {
    struct winsize size {};
    if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
      return size.ws_col;
    }
    return ProgressSink::width();
  }
  bool has_color() const override { return Environment("NO_COLOR").empty(); }
};

}  // namespace

std::shared_ptr<ProgressSink> ProgressSink::Stderr() {
  return std::make_shared<StderrSink>();
}

}  // namespace tftrain
