"""A merge put together: a recipe laid on its parents' checkpoints, checked before any work, then carried out.

`models` opens the parents and matches their names, `places` says what each tensor of the output is merged of,
`vocabulary` brings rows together by token, and `plan` joins them; `stream` carries a plan out tensor by tensor,
`output` writes what stands beside the weights, and `adapters` does the same for parents that are adapters alone.
"""
