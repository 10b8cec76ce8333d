# Makes one object of an archive, in which only the exported names can be seen from outside.

file(STRINGS "${EXPORTS}" exports)
set(wanted)
foreach(name IN LISTS exports)
  list(APPEND wanted -u "${name}")
endforeach()

function(must)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    list(GET ARGV 0 program)
    message(FATAL_ERROR "${program} failed on ${ARCHIVE}: ${status}")
  endif()
endfunction()

# -d gives common symbols their place, because objcopy cannot hide them before.
must("${LD}" -r -d --gc-sections ${wanted} -o evbus.o "${ARCHIVE}")
# The bitcode that some of Rust's objects carry stops an ar that has an older LLVM as a plugin.
must("${OBJCOPY}" --wildcard "--keep-global-symbol=evbus_*" --strip-debug --remove-section=.llvmbc
     --remove-section=.llvmcmd evbus.o)
file(REMOVE "${OUTPUT}")
must("${AR}" crs "${OUTPUT}" evbus.o)
file(REMOVE evbus.o)
