"""What the paper leaves open, and what this repository assumes. The report prints each as a row."""

from __future__ import annotations

OPEN_QUESTIONS: tuple[tuple[str, str], ...] = (
    (
        "§4.1 gives no learning rate, no standard deviation for its small random Gaussian weights, no threshold that "
        "makes the images binary, and no optimiser beyond stochastic gradient descent.",
        "Rate and standard deviation are the best on validation for the network *without* BN (mnist_tuning); a pixel "
        "is 1 from half the largest intensity upwards; plain SGD without momentum or weight decay.",
    ),
    (
        "Fig. 1b, c show “a typical sigmoid” of the last hidden layer without naming it.",
        "The figure shows the first unit, fixed before any run; the claim is judged on the median of all 100.",
    ),
    (
        "The paper does not say how often accuracy is evaluated; the steps to a target depend on it.",
        "In mnist_training, evaluations are at most 5% apart from step 200 on, and at most 500 steps apart; in "
        "inception_training at most 10% apart from step 500 on, and at most 400 steps apart.",
    ),
    (
        "The momentum of the moving averages and ε are not given.",
        "0.1 (share of the newest mini-batch) and 1e-5, the library's defaults.",
    ),
    (
        "Internal covariate shift is defined in words, without a way to measure it.",
        "Definition 2.1 of Santurkar et al. 2018, on the gradient of each layer's weights (covariate_shift).",
    ),
    (
        "The paper trains on all 60,000 images.",
        "A fixed permutation holds out 5,000 of them, since choices need a validation set; 55,000 are trained on.",
    ),
    (
        "§4.2.3 says how the ensemble's six networks differ, but not how much larger the initial weights are, which "
        "layers have statistics per activation, or which changes go together.",
        "Half as large again; those of the last Inception block; one change in each of four networks, two in each of "
        "the other two (configs/arm/member_*.yaml).",
    ),
    (
        "The pool projections that the appendix's table prints for 4c and 4d make 608 channels, where it prints 576, "
        "and 1,056 after 4e, where it prints 1,024.",
        "A projection of 96 instead of 128, which gives both. So does the network that the authors' employer published "
        "(Inception v2 of TF-Slim). model.pool_projection_4cd=128 is the other reading.",
    ),
    (
        "The appendix prints the outputs of 3c and 4e, which have stride 2, at the size of their inputs.",
        "They are half as large, as the next rows imply.",
    ),
    (
        "§4.2 gives the network 13.6·10⁶ parameters; no reading of the table has as many (network_size).",
        "The network here is the table's.",
    ),
    (
        "The first convolution is separable with depth multiplier 8; the paper does not say whether anything stands "
        "between its two parts.",
        "Nothing does: normalisation and activation follow the second part.",
    ),
)
