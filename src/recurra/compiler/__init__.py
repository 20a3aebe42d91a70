"""Any cell's plain step, compiled. The passes, in the order in which a step goes through them:

    trace           the step becomes a graph (`ir`) of few operations (`vocabulary` says what torch's mean, `operations`
                    what the pointwise ones are)
    stage           what depends on parameters only, on the input, on the carried state: before, in, after the loop
    differentiate   the loop's backward as a graph, and what of it can wait until after the loop
    canonicalise    equal values become one, products of joined inputs are split
    partition       what the forward loop saves and what the backward loop computes again: a minimal cut
    lower           values become tiles of matrix products and nests of loops, in the order of one time step, with
                    buffers between them; products that a row does not need where it sleeps (`asleep`) are told apart
    emit_cpp        C++ (with the headers in `runtime/`)
    build           the system's compiler, and the cache

No pass knows any cell. A size of the context that varies from call to call is a number like any other to them
(`varying`). `products` are the matrix products after a loop, run by native code; `interpret` runs the rest of a graph
with PyTorch. `linear` finds steps that are linear in their state, which can be scanned in parallel.
"""
