"""What is known of torch's operators on a GPU, by their names (those of ``torch.ops.aten``)."""

from __future__ import annotations

RAISING = frozenset(
    [
        "_adaptive_avg_pool2d_backward",
        "_adaptive_avg_pool3d_backward",
        "_ctc_loss_backward",
        "_upsample_bicubic2d_aa_backward",
        "_upsample_bilinear2d_aa_backward",
        "adaptive_max_pool2d_backward",
        "avg_pool3d_backward",
        "bincount",
        "fractional_max_pool2d_backward",
        "fractional_max_pool3d_backward",
        "grid_sampler_2d_backward",
        "grid_sampler_3d_backward",
        "histc",
        "index_reduce",
        "index_reduce_",
        "max_pool3d_with_indices_backward",
        "max_unpool2d",
        "max_unpool3d",
        "median",
        "nll_loss2d_forward",
        "put_",
        "reflection_pad1d_backward",
        "reflection_pad3d_backward",
        "replication_pad1d_backward",
        "replication_pad2d_backward",
        "replication_pad3d_backward",
        "scatter_reduce",
        "scatter_reduce_",
        "upsample_bicubic2d_backward",
        "upsample_bilinear2d_backward",
        "upsample_linear1d_backward",
        "upsample_trilinear3d_backward",
    ]
)
"""Those that raise on CUDA under deterministic algorithms: read off the binary of torch 2.13.0 for
CUDA 13.0, where their kernels call alertNotDeterministic. The documentation has others
(:data:`DOCUMENTED`), some of which no longer raise."""

RAISING_WITH = {"bincount": "weights", "median": "dim"}
"""Of these, what raises only with this argument."""

DOCUMENTED = frozenset(
    [
        "AdaptiveAvgPool2d",
        "AdaptiveAvgPool3d",
        "AdaptiveMaxPool2d",
        "AvgPool3d",
        "CTCLoss",
        "EmbeddingBag",
        "FractionalMaxPool2d",
        "FractionalMaxPool3d",
        "MaxUnpool1d",
        "MaxUnpool2d",
        "MaxUnpool3d",
        "NLLLoss",
        "ReflectionPad1d",
        "ReflectionPad2d",
        "ReflectionPad3d",
        "bincount",
        "cumsum",
        "grid_sample",
        "histc",
        "interpolate",
        "median",
        "put_",
        "resize_",
        "scatter_reduce",
    ]
)
"""What ``torch.use_deterministic_algorithms`` names as raising, as far as it was looked at: each is
in :data:`RAISING` by its operators, or was found not to raise."""

WAITING = frozenset(
    [
        "_assert_async",
        "_linalg_eigh",
        "_linalg_solve_ex",
        "_linalg_svd",
        "_local_scalar_dense",
        "_unique2",
        "allclose",
        "bincount",
        "equal",
        "is_nonzero",
        "linalg_inv_ex",
        "masked_select",
        "nonzero",
        "repeat_interleave",
        "unique_consecutive",
        "unique_dim",
    ]
)
"""Those after which the processor waits for the GPU: it needs their numbers, or the size of their
result."""

INDEXING = frozenset(["_index_put_impl_", "_unsafe_index", "index", "index_put", "index_put_"])
"""Those that may be given a mask, whose length is waited for, or an index in main memory."""

COPYING = frozenset(["_to_copy", "copy_", "_foreach_copy_"])
"""Those that may be given tensors of two devices."""

DRAWING = frozenset(
    [
        "bernoulli",
        "bernoulli_",
        "exponential_",
        "log_normal_",
        "multinomial",
        "native_dropout",
        "normal",
        "normal_",
        "poisson",
        "rand",
        "rand_like",
        "randint",
        "randint_like",
        "randn",
        "randn_like",
        "random_",
        "randperm",
        "uniform_",
    ]
)
"""Those that draw random numbers."""

LAUNCHING_NOTHING = frozenset(
    [
        "_reshape_alias",
        "_unsafe_view",
        "alias",
        "as_strided",
        "detach",
        "diagonal",
        "empty",
        "empty_like",
        "empty_strided",
        "expand",
        "is_same_size",
        "lift",
        "lift_fresh",
        "narrow",
        "new_empty",
        "new_empty_strided",
        "permute",
        "resize_",
        "select",
        "set_",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "t",
        "transpose",
        "unbind",
        "unfold",
        "unsqueeze",
        "view",
        "view_as_complex",
        "view_as_real",
    ]
)
"""Views and fresh memory: no kernel runs."""
