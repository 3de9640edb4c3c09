# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# Runs FindTensorFlow.cmake from MODULE_DIR, asking for the version EXACT if
# that is set, and tells what it found.

cmake_minimum_required(VERSION 3.25)
list(APPEND CMAKE_MODULE_PATH "${MODULE_DIR}")
if(EXACT)
  find_package(TensorFlow ${EXACT} EXACT REQUIRED)
else()
  find_package(TensorFlow REQUIRED)
endif()
message("found ${TensorFlow_VERSION} in ${TensorFlow_ROOT_DIR}")
