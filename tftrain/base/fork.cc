// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/base/fork.h"

#include <pthread.h>

#include <atomic>

namespace tftrain {
namespace {

// How often this process, and those it comes from, were forked.
std::atomic<int> generation{0};

void CountFork() { generation.fetch_add(1, std::memory_order_relaxed); }

[[maybe_unused]] const int kRegistered =
    pthread_atfork(nullptr, nullptr, CountFork);

}  // namespace

ForkCheck::ForkCheck()
    : generation_(generation.load(std::memory_order_relaxed)) {}

bool ForkCheck::InChild() const {
  return generation.load(std::memory_order_relaxed) != generation_;
}

}  // namespace tftrain
