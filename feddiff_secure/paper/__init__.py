"""FedDiff as published (arXiv 2401.02433): a baseline that exchanges features, without privacy."""
