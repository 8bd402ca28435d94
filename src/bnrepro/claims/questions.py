"""What the paper leaves open, and what this repository assumes. Each becomes a line of the report."""

from __future__ import annotations

OPEN_QUESTIONS: tuple[tuple[str, str], ...] = (
    (
        "§4.1 gives no learning rate, no standard deviation for its small random Gaussian weights, no threshold that "
        "makes the images binary, and no optimiser beyond stochastic gradient descent.",
        "Rate and standard deviation are the best on validation for the network *without* BN (mnist_tuning); a pixel "
        "is 1 from half the largest intensity on; plain SGD without momentum or weight decay.",
    ),
    (
        "Fig. 1b, c show “a typical sigmoid” of the last hidden layer without naming it.",
        "The figure shows the first unit, fixed before any run; the claim is judged on the median of all 100.",
    ),
    (
        "The step size at which accuracy is measured is not given, and a time to a target depends on it.",
        "Evaluations come at most 5% apart in steps, and at most 500 steps apart.",
    ),
    (
        "The momentum of the moving averages and ε are not given.",
        "0.1 (share of the newest mini-batch) and 1e-5, the library's defaults.",
    ),
    (
        "The paper trains on all 60,000 images.",
        "5,000 of them are held out by a fixed permutation, since choices need a validation set; 55,000 train.",
    ),
)
