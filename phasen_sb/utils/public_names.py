"""The public names of ``phasen_sb``, and where they are at home."""

#: Each module, within ``phasen_sb``, with the names that it is the home of.
HOMES = {
    "adapters.carrier": ["CarrierDecoder", "CarrierEncoder", "CarrierMaskNet"],
    "adapters.feature_enhancer": ["FeatureEnhancer"],
    "adapters.magnitude_mask": ["MagnitudeMask"],
    "adapters.waveform_map": ["WaveformMap"],
    "augmentation.coloration": ["Coloration", "Hiss"],
    "augmentation.levels": ["LevelChanges", "Pauses"],
    "augmentation.remix": ["Remix"],
    "augmentation.reverberation": ["Reverberation"],
    "augmentation.speed": ["Speed"],
    "data.datasets": ["make_datasets"],
    "data.prepare": ["prepare_data"],
    "inference.enhancer": ["Enhancer"],
    "losses.compressed_complex": ["compressed_complex_loss"],
    "losses.log_spectral": ["log_spectral_loss"],
    "losses.objective": ["Objective"],
    "losses.pesq": ["pesq_loss"],
    "losses.si_snr": ["si_snr_loss"],
    "losses.spectral": ["SpectralLoss"],
    "models.baselines": ["LogMagnitudeNetwork", "WaveformModel"],
    "models.enhancer": ["PhasenEnhancer"],
    "models.reference": ["load_reference_checkpoint"],
    "models.weights": ["load_weights"],
    "network.blocks": [
        "FrequencyTransformBlock",
        "InformationCommunication",
        "PhaseConv",
        "TwoStreamBlock",
    ],
    "network.heads": ["AmplitudeHead"],
    "network.layers": ["ConvNormAct"],
    "network.norms": ["BatchNorm", "FrameLayerNorm", "GlobalLayerNorm"],
    "network.phasen": ["PHASEN", "PhasenOutput"],
    "optimized": ["optimize"],
    "signals.conv_stft": ["ConvISTFT", "ConvSTFT"],
    "signals.istft": ["ISTFT"],
    "signals.windows": ["sqrt_hann_window"],
    "training.checkpoints": ["AtomicCheckpointer"],
    "training.schedules": ["WarmupLinearDecay"],
}

#: The home of each public name.
PUBLIC = {name: home for home, names in HOMES.items() for name in names}
