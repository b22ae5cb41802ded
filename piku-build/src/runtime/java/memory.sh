# The heap of a JVM, by the memory limit of its process type.
piku_type=$(printf %s "${PROC_TYPE-}" | tr a-z- A-Z_)
case $piku_type in
    '' | [0-9]*) piku_limit=${MEMORY_LIMIT-} ;;
    *) eval "piku_limit=\${${piku_type}_MEMORY_LIMIT-\${MEMORY_LIMIT-}}" ;;
esac
case $piku_limit in
    '') piku_heap= ;;
    *%) piku_heap="-XX:MaxRAMPercentage=$((${piku_limit%\%} * 60 / 100))" ;;
    *) piku_heap="-XX:MaxRAM=$piku_limit -XX:MaxRAMPercentage=60" ;;
esac
if [ -n "$piku_heap" ]; then
    # What the app says itself comes later and counts.
    export JAVA_TOOL_OPTIONS="$piku_heap${JAVA_TOOL_OPTIONS:+ $JAVA_TOOL_OPTIONS}"
fi
unset piku_type piku_limit piku_heap
