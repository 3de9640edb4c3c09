# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# The installed package: libraries, headers and what find_package(tftrain)
# reads. tftrain::testing is a component of its own, since it needs GoogleTest.

include(CMakePackageConfigHelpers)

set(tftrain_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tftrain)

get_property(tftrain_layers GLOBAL PROPERTY TFTRAIN_LIBRARIES)
list(REMOVE_ITEM tftrain_layers tftrain_testing)
install(TARGETS ${tftrain_layers} tftrain_umbrella EXPORT tftrainTargets
        FILE_SET HEADERS)
install(EXPORT tftrainTargets NAMESPACE tftrain::
        DESTINATION ${tftrain_package_dir})
if(TARGET tftrain_testing)
  install(TARGETS tftrain_testing EXPORT tftrainTestingTargets
          FILE_SET HEADERS)
  install(EXPORT tftrainTestingTargets NAMESPACE tftrain::
          DESTINATION ${tftrain_package_dir})
endif()

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/tftrainConfig.cmake.in
  ${PROJECT_BINARY_DIR}/tftrainConfig.cmake
  INSTALL_DESTINATION ${tftrain_package_dir})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/tftrainConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/tftrainConfig.cmake
  ${PROJECT_BINARY_DIR}/tftrainConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/FindTensorFlow.cmake
  ${CMAKE_CURRENT_LIST_DIR}/requirements-tensorflow.txt
  DESTINATION ${tftrain_package_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/tftrain)
